"""Writes `events.jsonl`: many steps per line, at most 20 writes per second, complete lines with number and checksum."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from engines import events
from engines.errors import UserError
from engines.runs.reader import split_damaged

WRITE_INTERVAL = 0.05  # seconds between writes of steps
_SECONDS_DIGITS = 6  # decimals of a step's duration
_TAIL_BYTES = 1 << 20  # the last number is searched here first


class LogError(UserError):
    """The log cannot be written. The run must end, as no viewer would see its steps."""


class EventLog:
    """Appends to one run's log. Another thread may call `flush_if_due` and `emit` during training."""

    def __init__(self, path: Path, started_at: float) -> None:
        """`started_at`: Unix time of the run's first start, from which every `t` counts."""
        self.path = path
        self._started_at = started_at
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._number, is_torn = _find_end(path)
        except OSError as error:
            raise LogError(f"{path} cannot be written: {error.strerror}.") from error
        self._lock = threading.RLock()
        # A killed writer may have left an incomplete line: end it before the first new line.
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
        """Number the next recorded step `step + 1`."""
        with self._lock:
            self._steps_to_pending()
            self.step = step

    def record_step(
        self, loss: float, lr: float, seconds: float, grad_norm: float, tokens: int, progress: float | None = None
    ) -> None:
        """Record a finished step. `tokens`: total of the run. `progress`: if the schedule follows it."""
        with self._lock:
            self._losses.append(loss)
            self._lr.append(lr)
            self._seconds.append(round(seconds, _SECONDS_DIGITS))
            self._grad_norms.append(grad_norm)
            if progress is not None:
                self._progress.append(progress)
            self._tokens = tokens
            self.step += 1
            if time.monotonic() >= self._due:
                self.flush()

    def emit(self, kind: str, **fields: Any) -> None:
        """Append an event after all recorded steps."""
        with self._lock:
            self._steps_to_pending()
            self._append({"v": events.VERSION, "t": self._now(), "kind": kind, **fields})
            self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write pending lines, unless some were written within WRITE_INTERVAL."""
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Write all pending lines to the operating system. Raises LogError if that fails."""
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
                self._broken = LogError(
                    f"{self.path} cannot be written: {error.strerror}. Free some disk space, then resume the run."
                )
                raise self._broken from error

    def sync(self) -> None:
        """Write all pending lines durably to the disk (about 4 ms). Raises LogError if that fails."""
        self.flush()
        try:
            _datasync(self._fd)
        except OSError as error:
            self._broken = LogError(
                f"{self.path} cannot be written: {error.strerror}. Free some disk space, then resume the run."
            )
            raise self._broken from error

    def require_file(self) -> None:
        """Raise LogError, now and at every later write, if the file was deleted or replaced: events would be lost."""
        try:
            found, ours = os.stat(self.path), os.fstat(self._fd)
            exists = (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)
        except FileNotFoundError:
            exists = False
        except OSError:  # the drive may be unavailable for a while
            return
        if not exists:
            with self._lock:
                self._broken = LogError(f"{self.path} was deleted while the run was active. Training was stopped.")
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
    """Return the number of a log's last line, 0 if no line has one, and whether the file ends with an incomplete line.

    Damaged lines after the last intact one count, so that readers see how many are missing.
    """
    with open(path, "rb") as file:
        size, part = file.seek(0, os.SEEK_END), _TAIL_BYTES
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
