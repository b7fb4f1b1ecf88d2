"""A process of a race ends as its exit code says, or when its time is over, and leaves nothing behind."""

import sys
from pathlib import Path

import psutil
import pytest

from engines.bench.nanochat import processes
from engines.bench.nanochat.processes import Outcome


def run(folder: Path, code: str, limit: float = 60.0) -> Outcome:
    command = [sys.executable, "-c", code]
    return processes.run(command, {"WORD": "given"}, folder, folder / "log", limit, lambda seconds, line: None)


def test_output_is_kept_line_by_line_without_colours(tmp_path: Path) -> None:
    outcome = run(
        tmp_path, "import os; print('\\033[32mone\\033[0m'); print(os.environ['WORD']); print('\\xff', end='')"
    )
    assert (outcome.status, outcome.lines, outcome.tail) == ("ok", ["one", "given", "\xff"], [])
    assert (tmp_path / "log").read_bytes().startswith(b"\x1b[32mone")
    assert len(outcome.arrivals) == 3 and sorted(outcome.arrivals) == outcome.arrivals


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import sys; print('why'); sys.exit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "SIGKILL")],
)
def test_a_failure_is_told_with_its_reason(tmp_path: Path, code: str, reason: str) -> None:
    outcome = run(tmp_path, code)
    assert outcome.status == "failed" and reason in outcome.reason
    assert outcome.tail == outcome.lines


def test_what_cannot_be_started_is_a_failure_too(tmp_path: Path) -> None:
    outcome = processes.run([str(tmp_path / "nothing")], {}, tmp_path, tmp_path / "log", 1.0, lambda *_: None)
    assert outcome.status == "failed" and "could not be started" in outcome.reason


def test_past_its_limit_a_process_ends_with_all_that_it_started(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid)
time.sleep(600)
"""
    outcome = run(tmp_path, code, limit=2.0)
    assert outcome.status == "timeout" and "--timeout 2" in outcome.reason
    assert not runs(int(outcome.lines[0]))


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # that is for its new parent to take away
    except psutil.NoSuchProcess:
        return False
