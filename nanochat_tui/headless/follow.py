"""Follow the events of a run or a study until it ends, and pass signals on to its worker."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from engines.events import Event
from engines.exit_codes import INTERRUPTED, TERMINATED, UNEXPECTED_EXIT
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.reader import EventReader
from engines.runs.snapshot import count_lost_steps
from engines.runs.store import Run
from nanochat_tui.commands import Options
from nanochat_tui.headless.presenters import Presenter
from nanochat_tui.streams import print_json

POLL_INTERVAL = 0.1  # seconds between reads of the log
_FIRST_POLL_INTERVAL = 0.005  # seconds; at first, so that a short run does not take longer
_FIRST_PERIOD = 2.0  # seconds
_EXIT_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class Outcome(NamedTuple):
    """Result of `follow`: the state of the run, its `ended` event if there is one, and the exit code."""

    state: str
    ended: Event | None
    exit_code: int


def follow(
    run: Run, process: "subprocess.Popen[bytes] | None", presenter: Presenter, reattach_command: str = "attach"
) -> Outcome:
    """Show events until the run ends. `reattach_command` is the command that follows it again.

    If `process` is given, it is the worker that this command started: SIGINT and SIGTERM are passed on to it, and the
    run stops after a checkpoint. Otherwise they only end the following.
    """
    follower = _Follower(run, process, presenter, reattach_command)
    try:
        with _signal_handler(follower.on_signal):
            while _held_signals:
                follower.on_signal(_held_signals.pop(), None)
            return follower.follow()
    finally:
        presenter.close()


class _Follower:
    """Reads the log of one run, and handles the signals that arrive meanwhile."""

    def __init__(
        self, run: Run, process: "subprocess.Popen[bytes] | None", presenter: Presenter, reattach_command: str
    ) -> None:
        self._run = run
        self._process = process
        self._presenter = presenter
        self._reattach_command = reattach_command
        self._reader = EventReader(run.events_path)
        self._history = History()
        self._exit_code: int | None = None
        self._is_detached = False

    def follow(self) -> Outcome:
        """Show events until the run ends or a signal detaches from it."""
        started = time.monotonic()
        while not self._is_detached:
            is_running = self._is_running()  # before reading, so that the events before the end are read after it
            self._show_new_events()
            if not is_running:
                break
            is_new = time.monotonic() - started < _FIRST_PERIOD
            time.sleep(_FIRST_POLL_INTERVAL if is_new else POLL_INTERVAL)
        return self._detached() if self._is_detached else self._ended()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Pass the first signal on to the worker; detach on the second one, or if the worker belongs to others."""
        is_repeated = self._exit_code is not None
        self._exit_code = _EXIT_CODES[signal.Signals(number)]
        if self._process is None or is_repeated:
            self._is_detached = True
            return
        self._presenter.print_message("stopping after a checkpoint; press Ctrl-C again to leave the run running")
        self._process.send_signal(number)

    def _is_running(self) -> bool:
        if self._process:
            return self._process.poll() is None
        return liveness.is_lock_held(self._run.lock_path)

    def _show_new_events(self) -> None:
        for line, event in self._history.read(self._reader):
            self._presenter.show(line, event, self._history)
        if self._reader.newer_schema:
            self._presenter.print_message(f"run {self._run.id}: {self._reader.newer_schema}")
            self._is_detached = True

    def _detached(self) -> Outcome:
        reattach = f"nanochat-tui --no-ui {self._reattach_command} {self._run.id}"
        self._presenter.print_message(f"{self._run.id} is still running; reattach with: {reattach}")
        return Outcome("running", None, self._exit_code or 0)

    def _ended(self) -> Outcome:
        count_lost_steps(self._run, self._history)
        if self._history.damage:
            self._presenter.print_message(f"{self._run.id}: {self._history.damage}")
        state = liveness.derive_ended_state(self._run, self._history)
        ended = liveness.find_ending(self._run, self._history)
        return Outcome(state, ended, self._exit_code or (ended["exit_code"] if ended else UNEXPECTED_EXIT))


def print_detached(options: Options, kind: str, started: Run) -> None:
    """Print the id of a run or study (`kind`) that continues in the background."""
    if options.json:
        print_json({kind: started.id, "path": str(started.path)})
    else:
        print(started.id)


# --- signals ------------------------------------------------------------------------------------------

_held_signals: list[int] = []  # received before a follower existed


@contextmanager
def hold_signals() -> Iterator[None]:
    """Hold SIGINT and SIGTERM for `follow`: a signal during the start of a worker must not leave it unattended.

    Signals that `follow` did not receive are delivered at the end.
    """
    with _signal_handler(lambda number, frame: _held_signals.append(number)):
        yield
    while _held_signals:
        os.kill(os.getpid(), _held_signals.pop())


@contextmanager
def _signal_handler(handler: object) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in _EXIT_CODES}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
