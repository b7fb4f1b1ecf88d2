"""Starts a run's worker: locked from its first moment, in a session of its own, independent of who started it."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from engines.errors import LabError
from engines.runs.liveness import START_MARK
from engines.runs.store import Run

_LOCK_PATIENCE = 1.0  # seconds; a viewer's probe holds the lock for microseconds
_CODE_ROOT = Path(__file__).resolve().parent.parent.parent


def launch(run: Run) -> subprocess.Popen[bytes]:
    """Start a worker on a new or a dead run. LabError if one lives already."""
    started_ns = time.time_ns()
    lock = _take_lock(run)
    try:
        with open(run.log_path, "ab") as log:
            log.write(f"{START_MARK}\n".encode())
            log.flush()
            return subprocess.Popen(
                # -P: a file of the user's in the current folder must not stand in for a module of the lab
                [sys.executable, "-P", "-m", "engines.worker", run.path, f"--lock={lock}", f"--since={started_ns}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": _python_path()},
            )
    finally:
        os.close(lock)  # the worker has its own descriptor of the same lock


def _take_lock(run: Run) -> int:
    fd = os.open(run.lock_path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise LabError(f"run {run.id} is live; attach to it, or stop it first.") from None
            time.sleep(0.02)


def _python_path() -> str:
    inherited = os.environ.get("PYTHONPATH")
    return f"{_CODE_ROOT}{os.pathsep}{inherited}" if inherited else str(_CODE_ROOT)
