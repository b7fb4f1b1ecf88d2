"""The state of a run, derived from its lock, events and worker.log. It is not stored."""

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

from engines import events
from engines.events import Event
from engines.exit_codes import HALTED
from engines.files import open_regular
from engines.runs.history import History
from engines.runs.store import Run

STUCK_AFTER = 10.0  # seconds without a heartbeat; a worker records one every 2
START_MARK = "--- worker started"  # first line of each start in worker.log
_DUMPS = (b"Fatal Python error", b"Traceback (most recent call last)")

LIVE_STATES = ("starting", "running", "paused", "stuck")
GLYPHS = {
    "starting": "◌", "running": "●", "paused": "‖", "stuck": "?",
    "stopped": "■", "halted": "▲", "finished": "✔", "crashed": "✖", "killed": "†",
}  # fmt: skip


def is_lock_held(lock: Path) -> bool:
    """Return whether a worker holds the lock; False if that cannot be determined."""
    try:
        return probe_lock(lock)
    except OSError:
        return False


def probe_lock(lock: Path) -> bool:
    """Return whether a worker holds the lock. The probe's own lock is shared and released at once.

    Raises OSError if the lock cannot be opened, as on an unavailable drive; a missing or another user's lock is free.
    """
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def derive_state(run: Run, history: History) -> str:
    """Return the state of a run: one of the keys of `GLYPHS`. `history` may be older than the state of the lock."""
    held = is_lock_held(run.lock_path)
    return derive_live_state(run, history) if held else derive_ended_state(run, history)


def derive_live_state(run: Run, history: History) -> str:
    """Return the state of a run whose lock is held."""
    if _get_seconds_since_written(run.events_path) > STUCK_AFTER:
        return "stuck"
    if history.paused:
        return "paused"
    if history.ended is None and any(event["phase"] == "train" for event in history.phases):
        return "running"
    return "starting"


def derive_ended_state(run: Run, history: History) -> str:
    """Return the state of a run whose lock is free and whose events were all read."""
    ended = find_ending(run, history)
    if ended:
        return get_state_after(ended["reason"])
    return "crashed" if any(dump in read_log_tail(run) for dump in _DUMPS) else "killed"


def get_state_after(reason: str) -> str:
    """Return the state of a run whose `ended` event has this reason."""
    return reason if reason in ("finished", "halted", "crashed") else "stopped"


def find_ending(run: Run, history: History) -> Event | None:
    """Return the `ended` event of the run's latest start; None if the worker was killed.

    A worker that cannot write to the event log prints the event to worker.log.
    """
    if history.ended and not is_newer(run.log_path, run.events_path):
        return history.ended
    if printed := find_printed_ending(run):
        return printed
    if history.ended is None and not run.path.exists():
        detail = f"{run.path}, the folder of run {run.id}, was deleted."
        return _build_ended_event(history.step, "halted", HALTED, detail)
    return history.ended


def find_printed_ending(run: Run) -> Event | None:
    """Return the `ended` event that the latest worker printed because it could not write to the event log."""
    for line in read_log_tail(run).splitlines():
        with contextlib.suppress(events.NewerSchema):
            event = events.decode(line)
            if event and event["kind"] == "ended":
                return event
    return None


def print_ended(step: int, reason: str, exit_code: int, detail: str | None) -> None:
    """Print an `ended` event to stderr, which is worker.log: for a worker that cannot write its event log."""
    event = _build_ended_event(step, reason, exit_code, detail)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed, or its disk is full as well
        sys.stderr.write(events.encode(event).decode())
        sys.stderr.flush()


def _build_ended_event(step: int, reason: str, exit_code: int, detail: str | None) -> Event:
    fields = {"step": step, "reason": reason, "exit_code": exit_code, "detail": detail, "traceback": None}
    return {"v": events.VERSION, "t": 0, "kind": "ended", **fields}


def is_newer(path: Path, other: Path) -> bool:
    """Return whether `path` was modified after `other`; False if one of them cannot be read."""
    try:
        return path.stat().st_mtime_ns > other.stat().st_mtime_ns
    except OSError:
        return False


def read_log_tail(run: Run, size: int = 16_384) -> bytes:
    """Return the end of the output of the latest worker."""
    try:
        with open_regular(run.log_path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read().rpartition(START_MARK.encode())[2]
    except OSError:
        return b""


def _get_seconds_since_written(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
