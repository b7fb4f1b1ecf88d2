"""Writes `events.jsonl`: many steps per line, few writes, whole lines only, each with its number and checksum."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from engines import events
from engines.errors import UserError
from engines.runs.reader import split_damaged

WRITE_INTERVAL = 0.05  # seconds between writes of steps: at most 20 a second
_MICROSECONDS = 6  # digits kept of a step's duration
_END_OF_LOG = 1 << 20  # bytes in which the last number is looked for first


class LogError(UserError):
    """The log cannot be written; the run must end, as nobody would see it."""


class EventLog:
    """Appends to one run's log. A thread may call `flush_if_due` and `emit` beside the one that trains."""

    def __init__(self, path: Path, started_at: float) -> None:
        """`started_at` is the Unix time of the run's first start: every `t` counts from there."""
        self.path = path
        self._started_at = started_at
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._number, is_torn = _find_end(path)
        except OSError as error:
            raise LogError(f"{path} cannot be written: {error.strerror}.") from error
        self._lock = threading.RLock()
        # A killed writer may have left half a line: it ends before the first line of this one.
        self._pending: list[bytes] = [b"\n"] if is_torn else []
        self._due = 0.0
        self._broken: LogError | None = None
        self.step = 0  # the last one recorded
        self._tokens = 0
        self._clear_columns()

    def _clear_columns(self) -> None:
        self._losses: list[float] = []
        self._lr: list[float] = []
        self._seconds: list[float] = []
        self._grad_norms: list[float] = []
        self._progress: list[float] = []

    def start_from(self, step: int) -> None:
        """The next step recorded is `step + 1`."""
        with self._lock:
            self._steps_to_pending()
            self.step = step

    def record_step(
        self, loss: float, lr: float, seconds: float, grad_norm: float, tokens: int, progress: float | None = None
    ) -> None:
        """Record a finished step; `tokens` counts from the run's beginning. `progress`: if the schedule follows it."""
        with self._lock:
            self._losses.append(loss)
            self._lr.append(lr)
            self._seconds.append(round(seconds, _MICROSECONDS))
            self._grad_norms.append(grad_norm)
            if progress is not None:
                self._progress.append(progress)
            self._tokens = tokens
            self.step += 1
            if time.monotonic() >= self._due:
                self.flush()

    def emit(self, kind: str, **fields: Any) -> None:
        """Append one event, after the steps that came before it."""
        with self._lock:
            self._steps_to_pending()
            self._append({"v": events.VERSION, "t": self._now(), "kind": kind, **fields})
            self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what waits, unless something was written just now."""
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the operating system."""
        with self._lock:
            if self._broken:
                raise self._broken
            self._steps_to_pending()
            if not self._pending:
                return
            self._due = time.monotonic() + WRITE_INTERVAL
            lines, self._pending = b"".join(self._pending), []
            try:
                _write_all(self._fd, lines)
            except OSError as error:
                self._broken = LogError(f"{self.path} cannot be written ({error.strerror}); free some disk space.")
                raise self._broken from error

    def sync(self) -> None:
        """Hand everything to the disk (about 4 ms)."""
        self.flush()
        try:
            _datasync(self._fd)
        except OSError as error:
            self._broken = LogError(f"{self.path} cannot be written ({error.strerror}); free some disk space.")
            raise self._broken from error

    def require_file(self) -> None:
        """Raise LogError, now and at every later write, if the file was deleted or replaced: events would be lost."""
        try:
            found, ours = os.stat(self.path), os.fstat(self._fd)
            is_there = (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)
        except FileNotFoundError:
            is_there = False
        except OSError:  # a drive that is away for a while
            return
        if not is_there:
            with self._lock:
                self._broken = LogError(f"{self.path} was deleted while the run was active; training was stopped.")
                raise self._broken

    def _now(self) -> float:
        return round(max(0.0, time.time() - self._started_at), 3)

    def _steps_to_pending(self) -> None:
        if not self._losses:
            return
        event = {
            "v": events.VERSION,
            "t": self._now(),
            "kind": "steps",
            "first_step": self.step - len(self._losses) + 1,
            "losses": self._losses,
            "lr": self._lr,
            "seconds": self._seconds,
            "grad_norms": self._grad_norms,
            "tokens": self._tokens,
            **({"progress": self._progress} if self._progress else {}),
        }
        self._append(event)
        self._clear_columns()

    def _append(self, event: events.Event) -> None:
        self._number += 1
        self._pending.append(events.encode_line(event, self._number))


def _find_end(path: Path) -> tuple[int, bool]:
    """Return the number of a log's last line, 0 if no line has one, and whether the file ends within a line.

    Damaged lines after the last intact one count: readers then see how many are missing.
    """
    with open(path, "rb") as file:
        size, part = file.seek(0, os.SEEK_END), _END_OF_LOG
        while True:
            file.seek(max(0, size - part))
            *lines, torn = file.read(min(size, part)).split(b"\n")
            if number := _number_of(torn):
                return number, True  # only its newline is missing
            lines = [line for line in lines if line.strip()]
            for later, line in enumerate(reversed(lines)):
                if number := _number_of(line):
                    return number + later, bool(torn)
            if part >= size:
                return 0, bool(torn)
            part *= 8


def _number_of(line: bytes) -> int:
    """Return the number of a line, or of the last line that a damaged newline joined to it; 0 if it has none."""
    return max(map(events.parse_line_number, split_damaged(line)), default=0)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _datasync(fd: int) -> None:
    getattr(os, "fdatasync", os.fsync)(fd)  # macOS has no fdatasync
