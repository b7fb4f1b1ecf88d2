"""A session in a real terminal, through tmux: start a run, watch it, exit, reattach, stop it, sample from it."""

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import write_text
from patience import PATIENCE

from engines.runs.history import read_history
from engines.runs.liveness import is_lock_held
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from screens.shared.settings_form import COMMON_SETTINGS

ROOT = Path(__file__).resolve().parents[2]
_numbers = itertools.count()


class TmuxPane:
    """A shell in a terminal of 120 × 40 cells, in its own tmux server."""

    def __init__(self, folder: Path) -> None:
        self._socket = f"nanochat-tui-{os.getpid()}-{next(_numbers)}"
        home = folder / "home"
        home.mkdir()
        self._environment = {
            "HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8",
            "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "TMUX_TMPDIR": str(folder),
        }  # fmt: skip
        shell = "sh"  # reads none of the user's files
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "-c", str(folder), shell)

    def kill(self) -> None:
        self._tmux("kill-server")

    def screen_text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def run(self, *words: str) -> None:
        """Type the command that runs the program with this interpreter."""
        self.type(" ".join([sys.executable, "-m", "nanochat_tui", *words]))
        self.press("Enter")

    def wait_for_text(self, *texts: str) -> None:
        for text in texts:
            self.wait_until(lambda text=text: text in self.screen_text())

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.screen_text()
            time.sleep(0.05)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", self._socket, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[TmuxPane]:
    pane = TmuxPane(tmp_path)
    try:
        yield pane
    finally:
        pane.kill()


@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
def test_a_run_is_started_watched_reattached_to_stopped_and_sampled(tmp_path: Path, pane: TmuxPane) -> None:
    text = write_text(tmp_path)
    pane.run()
    pane.wait_for_text("New run", "Press f5 to start")
    shown = [name for name in COMMON_SETTINGS if name != "depth"]  # a bigram model has no depth
    pane.press(*["Tab"] * (shown.index("data") + 2))  # from the form to its first row, the preset, and on
    pane.wait_for_text("--data:")  # the help of the setting in focus
    pane.type(str(text))
    pane.wait_for_text("text.txt")
    pane.press("Tab")
    pane.wait_for_text("--steps:")
    pane.type("10000000")
    pane.wait_for_text("10,000,000 steps")
    pane.press("F5")
    pane.wait_for_text("● RUNNING", "/ 10,000,000", "training")
    run = list_runs(tmp_path / "results")[0]
    try:
        assert run.config["given"] == {"data": str(text), "steps": "10000000"}
        watch_exit_and_reattach(pane, run)
        stop_and_sample(pane, run)
    finally:
        if is_lock_held(run.lock_path):
            (run.control_dir / "0-stop.json").write_text('{"verb": "stop"}')


def watch_exit_and_reattach(pane: TmuxPane, run: Run) -> None:
    step = read_history(run).step
    pane.wait_until(lambda: shown_step(pane) > step)
    pane.press("q")
    pane.wait_for_text(f"{run.id} is still running; reattach with: nanochat-tui attach {run.id}")
    pane.wait_until(lambda: is_shell(pane))
    left_at = read_history(run).step
    pane.wait_until(lambda: read_history(run).step > left_at)
    assert is_lock_held(run.lock_path)
    pane.run("attach", run.id)
    pane.wait_for_text("● RUNNING", run.id)
    pane.wait_until(lambda: shown_step(pane) > left_at)


def stop_and_sample(pane: TmuxPane, run: Run) -> None:
    pane.press("S")
    pane.wait_for_text(f"Stop {run.id} after a checkpoint?")
    pane.press("y")
    pane.wait_for_text("■ STOPPED at step")
    assert not is_lock_held(run.lock_path)
    step = read_history(run).step
    assert shown_step(pane) == step
    pane.press("3")
    pane.wait_for_text(f"{run.id} step {step:,}" if step < 1000 else run.id)
    pane.press("Enter")
    pane.wait_for_text("Done · ", "tokens")
    pane.press("q")
    pane.wait_until(lambda: is_shell(pane))


def is_shell(pane: TmuxPane) -> bool:
    """Return whether the shell shows its prompt, which ends in # for root."""
    return pane.screen_text().rstrip().endswith(("$", "#"))


def shown_step(pane: TmuxPane) -> int:
    for line in pane.screen_text().splitlines():
        _, found, after = line.partition("│ Step ")
        if found:
            return int(after.split("/")[0].replace(",", ""))
    return 0
