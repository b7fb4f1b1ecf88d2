"""Follows a growing `events.jsonl`: yields complete lines only, counts damaged and missing ones, detects truncation."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engines import events
from engines.events import Event
from engines.files import open_regular

_CHUNK = 4 << 20  # bytes per read, which bounds the memory for a long log
_MAX_LINE_BYTES = 16 << 20  # the steps of one write take about 100 KB, a long sample less
_TOO_LONG = b"?"  # replaces a longer line, and is not an event
_BEGINNING = re.compile(rb'(?={"v":)')


class EventReader:
    """Reads the lines that were appended since the last `poll`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.truncations = 0  # number of times the file became shorter and was read again from its beginning
        self.problem = ""  # a sentence if the log could not be read at the last poll
        self._identity: tuple[int, int] | None = None
        self._start_over()

    def _start_over(self) -> None:
        self._offset = 0
        self._torn = b""
        self._is_skipping = False  # within a line that is too long
        self._next_number = 1
        self._newest = b""
        self._is_numbered = False  # whether a line with a number and a checksum was read
        self._lost = 0
        self._damaged_at_end = 0  # damaged lines after the last one that was read
        self.malformed = 0  # lines that are not events: a crash leaves one, damage several
        self.newer_schema = ""  # the reason, if a later version wrote this log

    @property
    def lost_lines(self) -> int:
        """Number of recorded lines that cannot be read, without the incomplete line that a killed worker leaves."""
        return self._lost + self._damaged_at_end

    def poll(self) -> Iterator[tuple[bytes, Event]]:
        """Yield each new complete line with its event. If the file cannot be read, yield none and set `problem`."""
        for line in self._lines():
            if line.strip():
                yield from self._events(line.rstrip(b"\r"))

    # --- lines --------------------------------------------------------------------------------------

    def _lines(self) -> Iterator[bytes]:
        self.problem = ""
        try:
            with open_regular(self._path) as file:
                size = os.fstat(file.fileno()).st_size  # later lines are read by the next poll
                self._notice_replacement(file)
                file.seek(self._offset)
                while chunk := file.read(min(_CHUNK, size - self._offset)):
                    self._offset += len(chunk)
                    yield from self._whole_lines(chunk)
        except OSError as error:
            self.problem = f"{self._path.name} cannot be read: {error.strerror or error}."

    def _notice_replacement(self, file: BinaryIO) -> None:
        """Start over if the file became shorter, or if another one is at the same path."""
        status = os.fstat(file.fileno())
        identity = status.st_dev, status.st_ino
        if status.st_size < self._offset or self._identity not in (None, identity):
            self._start_over()
            self.truncations += 1
        self._identity = identity

    def _whole_lines(self, chunk: bytes) -> list[bytes]:
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        if lines and self._is_skipping:
            lines[0], self._is_skipping = _TOO_LONG, False
        if self._is_skipping or len(self._torn) > _MAX_LINE_BYTES:
            self._torn, self._is_skipping = b"", True
        return lines

    # --- events -------------------------------------------------------------------------------------

    def _events(self, line: bytes) -> Iterator[tuple[bytes, Event]]:
        """Yield the event of a line; of a damaged one, those of parts with a checksum: a newline may be damaged."""
        try:
            event = events.decode(line)
        except events.NewerSchema as error:
            self.newer_schema = str(error)
            return
        if event is not None:
            if self._is_due(line, event):
                yield line, event
            return
        self._note_damage()
        for part in split_damaged(line):
            if part != line and events.parse_line_number(part):
                yield from self._events(part)
            else:
                self._damaged_at_end = max(1, self._damaged_at_end)

    def _note_damage(self) -> None:
        self.malformed += 1
        self._damaged_at_end += 1

    def _is_due(self, line: bytes, event: Event) -> bool:
        """Return whether the event is the next one; count the lines that are missing before it."""
        number = event.pop("n", None)
        if number is None and not self._is_numbered:
            self._count_unnumbered(event)
            return True
        if number is None or number < self._next_number:
            if line != self._newest:  # a copy of the newest line is not damage
                self._note_damage()
            return False
        if number == 1:  # earlier lines, if any, were written by an earlier version
            self._count_unnumbered(event)
        self._lost += number - self._next_number
        self._damaged_at_end = 0  # these lines count as missing, or are an incomplete line that was written again
        self._is_numbered, self._next_number, self._newest = True, number + 1, line
        return True

    def _count_unnumbered(self, event: Event) -> None:
        """Count damaged lines before a line that has no number, or before the first that has one."""
        torn = event["kind"] == "run"  # the first line of a worker: the one before may have left an incomplete line
        self._lost += max(0, self._damaged_at_end - torn)
        self._damaged_at_end = 0


def split_damaged(line: bytes) -> list[bytes]:
    """Return the parts of a line that may each be a line, without separators and without what follows the last."""
    return [part[: part.rfind(b"}") + 1] or part for part in _BEGINNING.split(line) if part]
