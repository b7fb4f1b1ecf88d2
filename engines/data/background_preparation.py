"""Prepares text in a process of its own, while this one compiles: what it makes is found in the user's cache."""

import contextlib
import dataclasses
import sys
import time
from types import TracebackType
from typing import Any, Self

from engines.data.prepare import Report, prepare
from engines.data.tokenizers import Tokenizer, from_json
from engines.errors import UserError
from engines.settings.train import TrainSettings
from engines.system.subprocesses import Child, encode_line, requests
from engines.system.user_cache import Note, without_notes

_REPORT_INTERVAL = 0.2  # seconds


class TextAhead:
    """Text that is prepared in another process. Errors are not reported here, as preparing the text again finds them.
    Problems of the cache are: the second preparation finds it repaired."""

    def __init__(self, settings: TrainSettings, note: Note = without_notes, tokenizer: Tokenizer | None = None) -> None:
        """`tokenizer`: that of a run that continues."""
        self._note = note
        self._child = Child("engines.data.background_preparation")
        self._child.send([dataclasses.asdict(settings), tokenizer and tokenizer.to_json()])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._child.__exit__(kind, error, at)

    def is_done(self) -> bool:
        """Return whether everything is prepared already; to be called once, before `wait`."""
        with contextlib.suppress(UserError):
            return self._child.replies(0) and self._next_progress() is None
        return True

    def wait(self, report: Report) -> None:
        with contextlib.suppress(UserError):
            while (progress := self._next_progress()) is not None:
                report(*progress)

    def _next_progress(self) -> Any:
        """Return the next progress report, None at the end; pass on the notes before it."""
        while isinstance(value := self._child.receive(), str):
            self._note(value)
        return value


def main() -> None:
    """Prepare text in a child: receive settings and a tokenizer or null; send notes, progress as lists, then null."""
    reported = time.monotonic()

    def report(activity: str, done: int, total: int | None) -> None:
        nonlocal reported
        if time.monotonic() - reported >= _REPORT_INTERVAL:
            reported = time.monotonic()
            _send([activity, done, total])

    with contextlib.suppress(BrokenPipeError):  # the parent has ended
        with contextlib.suppress(UserError):
            settings, tokenizer = next(requests())
            prepare(TrainSettings(**settings), report, _send, from_json(tokenizer) if tokenizer else None)
        _send(None)


def _send(value: str | list[str | int | None] | None) -> None:
    sys.stdout.buffer.write(encode_line(value))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
