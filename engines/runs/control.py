"""Requests to a live run: one file each in its `control` folder, done by the worker, answered by an event."""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from engines.errors import UserError
from engines.numbered_names import parse_number

VERBS = ("pause", "resume", "stop", "checkpoint", "evaluate", "sample")


class Request(NamedTuple):
    """`name` is the file's name, and so the id that the answering event carries."""

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
        raise UserError(f"{verb} could not be requested: {control_dir} cannot be written ({error.strerror}).") from None
    return Request(name, verb)


class Inbox:
    """The worker's side. Requests from before `since_ns` were sent to an earlier worker and are deleted unread.

    Everything that is not a request is kept: other files, folders, or a file in place of the folder.
    """

    def __init__(self, control_dir: Path, since_ns: int) -> None:
        self._dir = control_dir
        self._since_ns = since_ns
        self._undeletable: set[str] = set()  # done, but still there

    def next(self) -> Request | None:
        """The oldest request that waits, until it is `done`."""
        for name in self._file_names():
            stamp, _, verb = name.removesuffix(".json").partition("-")
            time_ns = parse_number(stamp)
            if time_ns is None or verb not in VERBS:
                continue
            if time_ns >= self._since_ns:
                return Request(name, verb)
            self.done(Request(name, verb))
        return None

    def done(self, send_request: Request) -> None:
        try:
            (self._dir / send_request.name).unlink(missing_ok=True)
        except OSError:
            self._undeletable.add(send_request.name)

    def _file_names(self) -> list[str]:
        try:
            with os.scandir(self._dir) as entries:
                return sorted(
                    entry.name for entry in entries if entry.is_file() and entry.name not in self._undeletable
                )
        except OSError:  # deleted, not a folder, unreadable, or on a drive that is away
            return []
