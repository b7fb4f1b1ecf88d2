"""An unexpected exception ends the app with one sentence and a log file, and restores the terminal."""

import asyncio
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from app_pilot import DashboardWithToasts
from textual.worker import WorkerFailed
from textual_internals import crash_report, wait_for_crash

from nanochat_tui.bench_ui.terminal import Terminal
from screens.crash import report_crash

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = re.compile(r"the dashboard failed: (.+); the traceback is in (.+?\.log)\. Your runs continue\.", re.DOTALL)
REASON = "ValueError: about [bold]15"
FAILING_PROGRAM = """
import sys
from screens.app import DashboardApp
from nanochat_tui.cli import main

def fail(app):
    secret = "the user's" + " text"
    raise ValueError(f"about [bold]{len(secret)}")

DashboardApp.action_help = fail
code = main(["runs", "--results-dir", "results"])
print(f"exit code {code}")
"""


def fail(*_: object) -> None:
    secret = "the user's" + " text"
    raise ValueError(f"about [bold]{len(secret)}")


async def fail_later() -> None:
    fail()


def check_report(sentence: str) -> None:
    found = SENTENCE.fullmatch(sentence)
    assert found and found[1] == REASON, sentence
    log = Path(found[2]).read_text()
    assert "Traceback (most recent call last):" in log and f"\n{REASON}\n" in log
    assert "the user's text" not in log  # the value of a local variable


CAUSES: dict[str, Callable[[DashboardWithToasts], object]] = {
    "action": lambda app: (setattr(app, "action_help", fail), app.simulate_key("f1")),
    "message": lambda app: app.call_later(fail),
    "timer": lambda app: app.set_timer(0.01, fail),
    "worker": lambda app: app.run_worker(fail_later()),
    "thread": lambda app: app.run_worker(fail, thread=True),
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_any_exception_becomes_one_sentence_and_a_log_without_local_variables(cause: str, tmp_path: Path) -> None:
    app = DashboardWithToasts(tmp_path)
    with pytest.raises((ValueError, WorkerFailed)):  # the pilot raises it again, for tests
        async with app.run_test() as pilot:
            CAUSES[cause](app)
            await asyncio.wait_for(wait_for_crash(app), 20)
            await pilot.pause()
    assert app.return_code == 1 and crash_report(app) == []
    check_report(app.failure)


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory for the programs that the test starts."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_real_terminal_is_restored_and_shows_one_sentence(work_folder: Path) -> None:
    program = work_folder / "failing.py"
    program.write_text(FAILING_PROGRAM)
    with Terminal([], command=[sys.executable, str(program)]) as terminal:
        terminal.wait_for("2 Runs", 30)
        terminal.press("?", until="exit code 1", timeout=30)
        printed = terminal.output.partition("\x1b[?1049l")[2]  # after the alternate screen was left
    assert "Traceback" not in printed and "secret" not in printed
    sentence = re.search(r"nanochat-tui: (the dashboard failed.*?continue\.)", printed, re.DOTALL)
    assert sentence
    check_report(sentence[1].replace("\r\n", "\n"))


@pytest.mark.usefixtures("work_folder")
def test_a_signal_restores_the_terminal_too() -> None:
    with Terminal(["runs", "--results-dir", "results"]) as terminal:
        terminal.wait_for("2 Runs", 30)
        terminal.process.terminate()
        terminal.wait_for("\x1b[?1049l", 30)
        assert terminal.process.wait(30) == 143


def test_without_a_state_folder_the_log_goes_to_the_folder_for_temporary_files(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "state").touch()  # a file where a folder is expected
    monkeypatch.setenv("XDG_STATE_HOME", str(own_home / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sentence = report_crash(ValueError("about [bold]15"))
    found = SENTENCE.fullmatch(sentence)
    assert found and Path(found[2]).parent == tmp_path
    assert stat.S_IMODE(os.stat(found[2]).st_mode) == 0o600
    monkeypatch.setattr("tempfile.tempdir", str(own_home / "state"))
    assert report_crash(ValueError()) == (
        "the dashboard failed: ValueError; no log file could be written. Your runs continue."
    )


@pytest.mark.parametrize("text", ["\x1b[31m red \x07", "two\nlines", "x" * 5000, "\udc80"])
def test_the_sentence_is_one_printable_line(text: str) -> None:
    sentence = report_crash(ValueError(text))
    assert sentence.isprintable() and len(sentence) < 500
