"""A process of a benchmark: its exit status, its time limit, and its descendants."""

import sys
from pathlib import Path

import psutil
import pytest

from engines.bench import processes
from engines.bench.processes import ProcessOutcome


def run(folder: Path, code: str, limit: float = 60.0) -> ProcessOutcome:
    command = [sys.executable, "-c", code]
    return processes.run_process(command, {"WORD": "given"}, folder, folder / "log", limit, lambda seconds, line: None)


def test_output_is_recorded_line_by_line_without_colours(tmp_path: Path) -> None:
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
def test_a_failure_has_a_reason(tmp_path: Path, code: str, reason: str) -> None:
    outcome = run(tmp_path, code)
    assert outcome.status == "failed" and reason in outcome.reason
    assert outcome.tail == outcome.lines


def test_a_command_that_cannot_be_started_is_a_failure(tmp_path: Path) -> None:
    outcome = processes.run_process([str(tmp_path / "nothing")], {}, tmp_path, tmp_path / "log", 1.0, lambda *_: None)
    assert outcome.status == "failed" and "could not be started" in outcome.reason


def test_after_the_time_limit_a_process_is_killed_with_its_descendants(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid)
time.sleep(600)
"""
    outcome = run(tmp_path, code, limit=2.0)
    assert outcome.status == "timeout" and "--timeout 2" in outcome.reason
    assert not is_running(int(outcome.lines[0]))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # a zombie is reaped by its new parent
    except psutil.NoSuchProcess:
        return False
