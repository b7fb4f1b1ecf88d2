"""Control requests to a running worker: one file each in the `control` folder, answered by a `control` event."""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from engines.errors import UserError
from engines.numbered_names import parse_number

VERBS = ("pause", "resume", "stop", "checkpoint", "evaluate", "sample")


class Request(NamedTuple):
    """A request. `name` is the file's name, and the id in the event that answers it."""

    name: str
    verb: str


def send_request(control_dir: Path, verb: str) -> Request:
    """Request `verb` from a run by writing a file atomically. Raises UserError if it cannot be written."""
    name = f"{time.time_ns()}-{verb}.json"
    partial = control_dir / f".{name}.tmp"
    try:
        control_dir.mkdir(exist_ok=True)
        try:
            partial.write_text(json.dumps({"verb": verb}))
            partial.rename(control_dir / name)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{verb} cannot be requested: {control_dir} cannot be written: {error.strerror}.") from None
    return Request(name, verb)


class Inbox:
    """The requests to a worker. Those from before `since_ns` were sent to an earlier worker and are deleted.

    Files that are not requests are kept, and so is a file in place of the folder.
    """

    def __init__(self, control_dir: Path, since_ns: int) -> None:
        self._dir = control_dir
        self._since_ns = since_ns
        self._undeletable: set[str] = set()  # names of files that are done but could not be deleted

    def next(self) -> Request | None:
        """Return the oldest request that is not done; None if there is none."""
        for name in self._file_names():
            stamp, _, verb = name.removesuffix(".json").partition("-")
            time_ns = parse_number(stamp)
            if time_ns is None or verb not in VERBS:
                continue
            if time_ns >= self._since_ns:
                return Request(name, verb)
            self.done(Request(name, verb))
        return None

    def done(self, request: Request) -> None:
        """Delete a request that was performed."""
        try:
            (self._dir / request.name).unlink(missing_ok=True)
        except OSError:
            self._undeletable.add(request.name)

    def _file_names(self) -> list[str]:
        try:
            with os.scandir(self._dir) as entries:
                return sorted(
                    entry.name for entry in entries if entry.is_file() and entry.name not in self._undeletable
                )
        except OSError:  # deleted, not a folder, unreadable, or on an unavailable drive
            return []
