"""Requests to a live run: one file each in its `control` folder, done by the worker, answered by an event."""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from engines.numbered_names import parse_number

VERBS = ("pause", "resume", "stop", "checkpoint", "evaluate", "sample")


class Request(NamedTuple):
    """`name` is the file's name, and so the id that the answering event carries."""

    name: str
    verb: str


def request(control_dir: Path, verb: str) -> Request:
    """Ask a run to do `verb`; the file appears whole or not at all."""
    control_dir.mkdir(exist_ok=True)
    name = f"{time.time_ns()}-{verb}.json"
    partial = control_dir / f".{name}.tmp"
    partial.write_text(json.dumps({"verb": verb}))
    partial.rename(control_dir / name)
    return Request(name, verb)


class Inbox:
    """The worker's side. Requests from before `since_ns` were meant for an earlier worker and are deleted unread."""

    def __init__(self, control_dir: Path, since_ns: int) -> None:
        self._dir = control_dir
        self._since_ns = since_ns

    def next(self) -> Request | None:
        """The oldest request that waits, until it is `done`."""
        try:
            names = sorted(os.listdir(self._dir))
        except FileNotFoundError:
            return None
        for name in names:
            stamp, _, verb = name.removesuffix(".json").partition("-")
            time_ns = parse_number(stamp)
            if time_ns is None:
                continue
            if time_ns >= self._since_ns and verb in VERBS:
                return Request(name, verb)
            self.done(Request(name, verb))
        return None

    def done(self, request: Request) -> None:
        (self._dir / request.name).unlink(missing_ok=True)
