"""One process of a benchmark: its output, time limit, duration, GPU memory and exit status."""

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

_POLL = 0.2  # seconds between calls of `on_output`
_SHORT_POLL = 0.002  # seconds between checks of a process without output
_GPU_POLL = 1.0  # seconds between readings of the GPU's memory
_GRACE = 20.0  # seconds that a process has to exit after SIGTERM
_TAIL = 20  # last lines of the output of a failed process
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

OnOutput = Callable[[float, str], None]  # is called with the elapsed seconds and the latest line


class ProcessOutcome(NamedTuple):
    """The result of a process. `status` is ok, failed or timeout; `reason` is empty if it is ok."""

    status: str
    reason: str
    seconds: float
    peak_gpu_bytes: int | None  # of the first GPU, beyond what was in use before, as reported by the driver
    lines: list[str]
    arrivals: list[float]  # of each line, in seconds since the start of the process
    started_at: float  # Unix time

    @property
    def tail(self) -> list[str]:
        """The last lines of a process that did not succeed."""
        return [] if self.status == "ok" else self.lines[-_TAIL:]


def run_process(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, limit: float, on_output: OnOutput
) -> ProcessOutcome:
    """Run a command until it exits or `limit` seconds have passed.

    The output is written to `log`; `on_output` is called several times per second.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    before = _read_gpu_bytes()
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
        return ProcessOutcome("failed", f"could not be started: {error.strerror}", 0.0, None, [], [], started_at)
    lines: list[str] = []
    arrivals: list[float] = []
    reader = threading.Thread(target=_read_output, args=(process, log, started, lines, arrivals), daemon=True)
    reader.start()
    try:
        peak, timed_out = _wait_for_exit(process, reader, started, limit, before, lines, on_output)
        seconds = time.monotonic() - started
    finally:
        _terminate_tree(process)
    reader.join(_GRACE)
    status, reason = _describe_exit(process.returncode, timed_out, limit)
    return ProcessOutcome(status, reason, seconds, peak, lines, arrivals, started_at)


def _wait_for_exit(
    process: "subprocess.Popen[bytes]",
    reader: threading.Thread,
    started: float,
    limit: float,
    before: int | None,
    lines: list[str],
    on_output: OnOutput,
) -> tuple[int | None, bool]:
    """Return the peak of GPU memory beyond `before`, and whether the time limit was exceeded.

    The reader of the output ends with the process, so that its end is noticed at once.
    """
    peak = None if before is None else 0
    next_reading = 0.0
    while process.poll() is None:
        elapsed = time.monotonic() - started
        if elapsed > limit:
            return peak, True
        if before is not None and elapsed >= next_reading:
            next_reading = elapsed + _GPU_POLL
            peak = max(peak or 0, (_read_gpu_bytes() or before) - before)
        on_output(elapsed, lines[-1] if lines else "")
        if reader.is_alive():
            reader.join(_POLL)
        else:  # a process that closed its output, or that is about to exit
            time.sleep(_SHORT_POLL)
    return peak, False


def _read_output(
    process: "subprocess.Popen[bytes]", log: Path, started: float, lines: list[str], arrivals: list[float]
) -> None:
    assert process.stdout is not None
    with open(log, "wb") as file, process.stdout:
        for raw in process.stdout:
            arrivals.append(time.monotonic() - started)
            lines.append(COLOURS.sub("", raw.decode(errors="replace")).rstrip("\n"))
            file.write(raw)
            file.flush()


def _terminate_tree(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process and its descendants. The worker of our `train` is in a session of its own."""
    try:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    if process.poll() is not None:
        return
    for member in tree:
        _signal(member, signal.SIGTERM)
    psutil.wait_procs(tree[1:], timeout=_GRACE)
    for member in tree:
        _signal(member, signal.SIGKILL)
    process.wait()


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _describe_exit(code: int, timed_out: bool, limit: float) -> tuple[str, str]:
    if timed_out:
        return "timeout", f"exceeded --timeout {limit:g} s"
    if code == 0:
        return "ok", ""
    if code < 0:
        return "failed", f"killed by {signal.Signals(-code).name}"
    return "failed", f"exit code {code}"


def _read_gpu_bytes() -> int | None:
    found = list_gpus()
    return found[0].total_bytes - found[0].free_bytes if found else None
