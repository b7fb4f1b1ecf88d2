"""Prepare text in another process while this one compiles. The results are left in the user's cache."""

import contextlib
import dataclasses
import sys
import time
from types import TracebackType
from typing import Any, Self

from engines.data.prepare import ReportProgress, prepare
from engines.data.tokenizers import Tokenizer, from_json
from engines.errors import UserError
from engines.settings.train import TrainSettings
from engines.system.subprocesses import WorkerProcess, encode_message, read_messages
from engines.system.user_cache import Note, ignore_note

_REPORT_INTERVAL = 0.2  # seconds


class BackgroundPreparation:
    """Preparation of text in a worker process, which ends with this context.

    Errors are not reported, because preparing the text again in this process raises them. Problems of the cache are
    reported: the second preparation finds the cache repaired.
    """

    def __init__(self, settings: TrainSettings, note: Note = ignore_note, tokenizer: Tokenizer | None = None) -> None:
        """Start the process. `tokenizer` is that of a run that continues."""
        self._note = note
        self._worker = WorkerProcess("engines.data.background_preparation")
        self._worker.send([dataclasses.asdict(settings), tokenizer and tokenizer.to_json()])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._worker.__exit__(kind, error, at)

    def is_done(self) -> bool:
        """Return whether everything is prepared already. Call it once, before `wait`."""
        with contextlib.suppress(UserError):
            return self._worker.has_reply(0) and self._next_progress() is None
        return True

    def wait(self, report: ReportProgress) -> None:
        """Wait until everything is prepared, or the process has failed."""
        with contextlib.suppress(UserError):
            while (progress := self._next_progress()) is not None:
                report(*progress)

    def _next_progress(self) -> Any:
        """Return the next progress report, None at the end; forward the notes before it."""
        while isinstance(value := self._worker.receive(), str):
            self._note(value)
        return value


def main() -> None:
    """Run the worker process. It receives settings and a tokenizer or null, and sends notes as strings, progress as
    lists, and null at the end."""
    last_report = time.monotonic()

    def report(activity: str, done: int, total: int | None) -> None:
        nonlocal last_report
        if time.monotonic() - last_report >= _REPORT_INTERVAL:
            last_report = time.monotonic()
            _send([activity, done, total])

    with contextlib.suppress(BrokenPipeError):  # the parent has exited
        with contextlib.suppress(UserError):
            settings, tokenizer = next(read_messages())
            prepare(TrainSettings(**settings), report, _send, from_json(tokenizer) if tokenizer else None)
        _send(None)


def _send(value: str | list[str | int | None] | None) -> None:
    sys.stdout.buffer.write(encode_message(value))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
