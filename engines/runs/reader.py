"""Follows a growing `events.jsonl`: whole lines only, bad ones counted, truncation noticed."""

from collections.abc import Iterator
from pathlib import Path

from engines import events
from engines.events import Event

_CHUNK = 4 << 20  # bytes read at a time, so that a long log never fills the memory


class EventReader:
    """Reads what was appended since the last `poll`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._torn = b""
        self.malformed = 0  # lines that are no event: a crash leaves one, garbage more
        self.truncations = 0  # times the file became shorter; what follows is read from its beginning
        self.newer_schema = ""  # what to tell a person if a later version wrote this log

    def poll(self) -> Iterator[tuple[bytes, Event]]:
        """Each new whole line with its event. A missing file has no lines yet."""
        for line in self._lines():
            if not line.strip():
                continue
            try:
                event = events.decode(line)
            except events.NewerSchema as error:
                self.newer_schema = str(error)
                continue
            if event is None:
                self.malformed += 1
            else:
                yield line, event

    def _lines(self) -> Iterator[bytes]:
        try:
            file = open(self._path, "rb")  # noqa: SIM115 - closed below, after the last yield
        except FileNotFoundError:
            return
        with file:
            size = file.seek(0, 2)  # what is written from now on is for the next poll
            self._notice_truncation(size)
            file.seek(self._offset)
            while chunk := file.read(min(_CHUNK, size - self._offset)):
                self._offset += len(chunk)
                *lines, self._torn = (self._torn + chunk).split(b"\n")
                yield from lines

    def _notice_truncation(self, size: int) -> None:
        if size < self._offset:
            self._offset, self._torn = 0, b""
            self.truncations += 1
