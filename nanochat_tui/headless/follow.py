"""Follows a run's events until it ends, and shows them: as JSON, as lines, or as a progress bar."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple, Protocol

from engines.events import Event
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.reader import EventReader
from engines.runs.snapshot import count_lost_steps
from engines.runs.store import Run

DIED = 5  # the worker left no last word
_FAST, _SLOW = 0.005, 0.1  # seconds between looks: short runs should not wait for us
_FAST_FOR = 2.0
_BY_SIGNAL = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Presenter(Protocol):
    """Shows a run to whoever watches."""

    def show(self, line: bytes, event: Event, history: History) -> None: ...

    def say(self, text: str) -> None:
        """One line for a person."""

    def close(self) -> None: ...


class Outcome(NamedTuple):
    """How following ended: the run's state, its last word if it said one, and the exit code for the shell."""

    state: str
    ended: Event | None
    exit_code: int


def follow(
    run: Run, process: "subprocess.Popen[bytes] | None", presenter: Presenter, come_back: str = "attach"
) -> Outcome:
    """Show events until the run ends. `come_back` is the command that shows it again.

    `process` is the worker if it is ours: then SIGINT and SIGTERM go on to it, and the run stops after a
    checkpoint. Otherwise they just end the watching.
    """
    follower = _Follower(run, process, presenter, come_back)
    try:
        with _signals(follower.on_signal):
            while _held:
                follower.on_signal(_held.pop(), None)
            return follower.follow()
    finally:
        presenter.close()


class _Follower:
    def __init__(
        self, run: Run, process: "subprocess.Popen[bytes] | None", presenter: Presenter, come_back: str
    ) -> None:
        self._run = run
        self._come_back = come_back
        self._process = process
        self._presenter = presenter
        self._reader = EventReader(run.events_path)
        self._history = History()
        self._exit_code: int | None = None
        self._left = False

    def follow(self) -> Outcome:
        started = time.monotonic()
        while not self._left:
            alive = self._is_alive()  # before reading: what was written before the end is read after it
            self._read()
            if not alive:
                break
            time.sleep(_FAST if time.monotonic() - started < _FAST_FOR else _SLOW)
        if self._left:
            self._presenter.say(
                f"{self._run.id} is still running; reattach with: nanochat-tui --no-ui {self._come_back} {self._run.id}"
            )
            return Outcome("running", None, self._exit_code or 0)
        count_lost_steps(self._run, self._history)
        if self._history.damage:
            self._presenter.say(f"{self._run.id}: {self._history.damage}")
        state = liveness.ended_state(self._run, self._history)
        ended = liveness.ending(self._run, self._history)
        return Outcome(state, ended, self._exit_code or (ended["exit_code"] if ended else DIED))

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        again = self._exit_code is not None
        self._exit_code = _BY_SIGNAL[signal.Signals(number)]
        if self._process is None or again:
            self._left = True
            return
        self._presenter.say("stopping after a checkpoint; once more to leave the run going")
        self._process.send_signal(number)

    def _is_alive(self) -> bool:
        if self._process:
            return self._process.poll() is None
        return liveness.lock_is_held(self._run.lock_path)

    def _read(self) -> None:
        for line, event in self._history.read(self._reader):
            self._presenter.show(line, event, self._history)
        if self._reader.newer_schema:
            self._presenter.say(f"run {self._run.id}: {self._reader.newer_schema}")
            self._left = True


class JsonLines:
    """Prints the lines of the log: to a pipe byte for byte, to a terminal without control characters."""

    def show(self, line: bytes, event: Event, history: History) -> None:
        if sys.stdout.isatty():
            print(line.decode(errors="replace"), flush=True)
            return
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr)

    def close(self) -> None:
        pass


_held: list[int] = []  # signals that were received before a follower existed


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM for `follow`: a signal during the start of a worker must not leave it unattended.

    Signals that `follow` did not receive are delivered at the end.
    """
    with _signals(lambda number, frame: _held.append(number)):
        yield
    while _held:
        os.kill(os.getpid(), _held.pop())


@contextmanager
def _signals(handler: object) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in _BY_SIGNAL}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
