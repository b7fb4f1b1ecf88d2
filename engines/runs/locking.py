"""The run's lock, which one worker holds: acquiring it, and checking that a worker received it."""

import fcntl
import os
import time

from engines.errors import UserError
from engines.numbered_names import parse_numbered
from engines.runs.store import Run

_TIMEOUT = 1.0  # seconds; a viewer's probe holds the lock for microseconds
_FIRST_FREE = 3  # a lower descriptor is a standard stream: the redirection of a child's streams would replace the lock


def acquire_lock(run: Run) -> int:
    """Return a descriptor above 2 that holds the run's lock until it is closed. Raises UserError if it is held."""
    fd = _open_lock(run)
    deadline = time.monotonic() + _TIMEOUT
    try:
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise UserError(f"run {run.id} is already running. Attach to it, or stop it first.")
            time.sleep(0.02)
    except BaseException:
        os.close(fd)
        raise
    return fd


def require_lock(run: Run, argument: str) -> int:
    """Return the descriptor that the launcher passed as `--lock=FD`. Raises UserError unless it holds this run's lock.

    A worker without the lock would be reported as killed, and a second worker could be started on the same directory.
    """
    fd = parse_numbered(argument, "--lock=")
    try:
        if fd is not None and _is_lock_of(run, fd) and _try_lock(fd):
            os.set_inheritable(fd, False)  # processes that the worker starts must not hold the lock
            return fd
    except (OSError, OverflowError):  # not an open descriptor, or the file was deleted
        pass
    raise UserError(
        f"the worker of run {run.id} cannot start: it did not receive the lock {run.lock_path}. Start it with resume."
    )


def _open_lock(run: Run) -> int:
    try:
        fd = os.open(run.lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
        finally:
            os.close(fd)
    except OSError as error:
        raise UserError(
            f"run {run.id} cannot be started: {run.lock_path} cannot be opened: {error.strerror}."
        ) from None


def _is_lock_of(run: Run, fd: int) -> bool:
    ours, expected = os.fstat(fd), os.stat(run.lock_path)
    return (ours.st_dev, ours.st_ino) == (expected.st_dev, expected.st_ino)


def _try_lock(fd: int) -> bool:
    """Lock exclusively unless another open file holds the lock. A descriptor that already holds it keeps it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
