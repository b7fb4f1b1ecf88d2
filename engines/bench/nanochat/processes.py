"""Runs one process of a race: its output to a log and a listener, its time limit, what it took and how it ended."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from engines.system.gpus import list_gpus

_POLL = 0.2  # seconds between looks at the process
_GPU_POLL = 1.0  # seconds between readings of the GPU's memory
_PATIENCE = 20.0  # seconds that a process has to end by itself once it is asked to
_TAIL = 20  # lines of a log that tell why a process failed
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

Hear = Callable[[float, str], None]


class Outcome(NamedTuple):
    """How a process went. `status`: ok, failed or timeout; `reason` is empty where it is ok."""

    status: str
    reason: str
    seconds: float
    peak_gpu_bytes: int | None  # that it added to what was in use on the first GPU, as its driver tells
    lines: list[str]
    arrivals: list[float]  # for each line, seconds since the process was started
    started_at: float  # unix time

    @property
    def tail(self) -> list[str]:
        return [] if self.status == "ok" else self.lines[-_TAIL:]


def run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, limit: float, hear: Hear
) -> Outcome:
    """Run it to its end, or until `limit` seconds have passed. `hear` is told the time and its latest line often."""
    log.parent.mkdir(parents=True, exist_ok=True)
    before = _gpu_bytes()
    started_at, started = time.time(), time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,
        )
    except OSError as error:
        return Outcome("failed", f"it could not be started ({error.strerror})", 0.0, None, [], [], started_at)
    lines: list[str] = []
    arrivals: list[float] = []
    reader = threading.Thread(target=_read, args=(process, log, started, lines, arrivals), daemon=True)
    reader.start()
    try:
        most, timed_out = _wait(process, started, limit, before, lines, hear)
    finally:
        _end(process)
    reader.join(_PATIENCE)
    seconds = time.monotonic() - started
    status, reason = _judge(process.returncode, timed_out, limit)
    return Outcome(status, reason, seconds, most, lines, arrivals, started_at)


def _wait(
    process: "subprocess.Popen[bytes]", started: float, limit: float, before: int | None, lines: list[str], hear: Hear
) -> tuple[int | None, bool]:
    """The most GPU memory seen in use beyond `before`, and whether the limit was passed."""
    most = None if before is None else 0
    next_reading = 0.0
    while process.poll() is None:
        elapsed = time.monotonic() - started
        if elapsed > limit:
            return most, True
        if before is not None and elapsed >= next_reading:
            next_reading = elapsed + _GPU_POLL
            most = max(most or 0, (_gpu_bytes() or before) - before)
        hear(elapsed, lines[-1] if lines else "")
        time.sleep(_POLL)
    return most, False


def _read(
    process: "subprocess.Popen[bytes]", log: Path, started: float, lines: list[str], arrivals: list[float]
) -> None:
    assert process.stdout is not None
    with open(log, "wb") as file, process.stdout:
        for raw in process.stdout:
            arrivals.append(time.monotonic() - started)
            lines.append(COLOURS.sub("", raw.decode(errors="replace")).rstrip("\n"))
            file.write(raw)
            file.flush()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Nothing that it started is left: our `train` has a worker in a session of its own."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    if process.poll() is not None:
        return
    for member in family:
        _signal(member, signal.SIGTERM)
    psutil.wait_procs(family[1:], timeout=_PATIENCE)
    for member in family:
        _signal(member, signal.SIGKILL)
    process.wait()


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _judge(code: int, timed_out: bool, limit: float) -> tuple[str, str]:
    if timed_out:
        return "timeout", f"it took longer than --timeout {limit:g} s"
    if code == 0:
        return "ok", ""
    if code < 0:
        return "failed", f"it died of {signal.Signals(-code).name}"
    return "failed", f"it ended with exit code {code}"


def _gpu_bytes() -> int | None:
    found = list_gpus()
    return found[0].total_bytes - found[0].free_bytes if found else None
