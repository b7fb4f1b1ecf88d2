"""The whole way in a real terminal, through tmux: start a run, watch, leave, come back, stop, sample."""

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


class Pane:
    """A shell in a terminal of 120 × 40, on a tmux server of its own."""

    def __init__(self, folder: Path) -> None:
        self._socket = f"nanochat-tui-{os.getpid()}-{next(_numbers)}"
        home = folder / "home"
        home.mkdir()
        self._environment = {
            "HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8",
            "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "TMUX_TMPDIR": str(folder),
        }  # fmt: skip
        shell = "sh"  # reads no file of the user's
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "-c", str(folder), shell)

    def kill(self) -> None:
        self._tmux("kill-server")

    def seen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def run(self, *words: str) -> None:
        """The program, by this interpreter."""
        self.type(" ".join([sys.executable, "-m", "nanochat_tui", *words]))
        self.press("Enter")

    def sees(self, *words: str) -> None:
        for word in words:
            self.until(lambda word=word: word in self.seen())

    def until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, self.seen()
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
def pane(tmp_path: Path) -> Iterator[Pane]:
    pane = Pane(tmp_path)
    try:
        yield pane
    finally:
        pane.kill()


@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not here")
def test_a_run_is_started_watched_left_found_again_stopped_and_heard(tmp_path: Path, pane: Pane) -> None:
    text = write_text(tmp_path)
    pane.run()
    pane.sees("New run", "Press f5 to start")
    shown = [name for name in COMMON_SETTINGS if name != "depth"]  # which a bigram has not
    pane.press(*["Tab"] * (shown.index("data") + 1))  # from the form itself
    pane.sees("--data:")  # what the foot of the form tells of the entry that takes keys
    pane.type(str(text))
    pane.sees("text.txt")
    pane.press("Tab")
    pane.sees("--steps:")
    pane.type("10000000")
    pane.sees("10,000,000 steps")
    pane.press("F5")
    pane.sees("● RUNNING", "/ 10,000,000", "training")
    run = list_runs(tmp_path / "results")[0]
    try:
        assert run.config["given"] == {"data": str(text), "steps": "10000000"}
        watch_leave_and_come_back(pane, run)
        stop_and_hear(pane, run)
    finally:
        if is_lock_held(run.lock_path):
            (run.control_dir / "0-stop.json").write_text('{"verb": "stop"}')


def watch_leave_and_come_back(pane: Pane, run: Run) -> None:
    step = read_history(run).step
    pane.until(lambda: shown_step(pane) > step)  # it goes on, and one sees it
    pane.press("q")
    pane.sees(f"{run.id} is still running; reattach with: nanochat-tui attach {run.id}")
    pane.until(lambda: is_shell(pane))
    left_at = read_history(run).step
    pane.until(lambda: read_history(run).step > left_at)
    assert is_lock_held(run.lock_path)
    pane.run("attach", run.id)
    pane.sees("● RUNNING", run.id)
    pane.until(lambda: shown_step(pane) > left_at)


def stop_and_hear(pane: Pane, run: Run) -> None:
    pane.press("S")
    pane.sees(f"Stop {run.id} after a checkpoint?")
    pane.press("y")
    pane.sees("■ STOPPED at step")
    assert not is_lock_held(run.lock_path)
    step = read_history(run).step
    assert shown_step(pane) == step
    pane.press("3")
    pane.sees(f"{run.id} step {step:,}" if step < 1000 else run.id)
    pane.press("Enter")
    pane.sees("Done · ", "tokens")
    pane.press("q")
    pane.until(lambda: is_shell(pane))


def is_shell(pane: Pane) -> bool:
    """Whether it waits for a command; of root it asks with another sign."""
    return pane.seen().rstrip().endswith(("$", "#"))


def shown_step(pane: Pane) -> int:
    for line in pane.seen().splitlines():
        _, found, after = line.partition("│ Step ")
        if found:
            return int(after.split("/")[0].replace(",", ""))
    return 0
