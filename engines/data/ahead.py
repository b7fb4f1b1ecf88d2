"""Prepares text in a process of its own, while this one compiles: what it makes is found in the user's cache."""

import contextlib
import dataclasses
import sys
import time
from types import TracebackType
from typing import Self

from engines.config import TrainSettings
from engines.data.children import Child, encode_line, requests
from engines.data.prepare import Report, prepare
from engines.errors import LabError

_REPORT_INTERVAL = 0.2  # seconds


class TextAhead:
    """Text in preparation. What goes wrong is not told here: whoever prepares the same text again finds it out."""

    def __init__(self, settings: TrainSettings) -> None:
        self._child = Child("engines.data.ahead")
        self._child.send(dataclasses.asdict(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.__exit__(kind, error, at)

    def is_done(self) -> bool:
        """To be asked once, before `wait`: whether it went so fast that there was nothing to report."""
        with contextlib.suppress(LabError):
            return self._child.replies(0) and self._child.receive() is None
        return True

    def wait(self, report: Report) -> None:
        with contextlib.suppress(LabError):
            while (progress := self._child.receive()) is not None:
                report(*progress)


def main() -> None:
    """In a child: settings come; back go reports of progress, then null."""
    reported = time.monotonic()

    def report(activity: str, done: int, total: int | None) -> None:
        nonlocal reported
        if time.monotonic() - reported >= _REPORT_INTERVAL:
            reported = time.monotonic()
            _say([activity, done, total])

    with contextlib.suppress(BrokenPipeError):  # the parent has ended
        with contextlib.suppress(LabError):
            prepare(TrainSettings(**next(requests())), report)
        _say(None)


def _say(value: list[str | int | None] | None) -> None:
    sys.stdout.buffer.write(encode_line(value))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
