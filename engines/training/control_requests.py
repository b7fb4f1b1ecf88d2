"""Control requests to a run in training: stop, pause, resume, checkpoint, evaluate, sample."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from engines.runs.control import Inbox, Request
from engines.runs.log import EventLog


class Timing(NamedTuple):
    """The clock of the training loop, and how often it reads requests."""

    poll_interval: float = 0.05  # seconds
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class ControlRequests:
    """Reads requests from a run's inbox, performs them, and records each as a `control` event."""

    def __init__(
        self,
        inbox: Inbox,
        log: EventLog,
        actions: Mapping[str, Callable[[], None]],
        is_ending: Callable[[], bool],
        timing: Timing,
    ) -> None:
        """`actions`: the function that performs each verb but `resume`. `is_ending`: whether the run is about to end,
        which also ends a pause."""
        self._inbox = inbox
        self._log = log
        self._actions = actions
        self._is_ending = is_ending
        self._timing = timing

    def handle_all(self) -> bool:
        """Perform every waiting request; return whether one was a pause, which lasts until a resume or stop request."""
        was_paused = False
        while request := self._inbox.next():
            self._handle(request)
            if request.verb == "pause":
                self._wait_until_resumed()
                was_paused = True
        return was_paused

    def _handle(self, request: Request) -> None:
        if request.verb in self._actions:
            self._actions[request.verb]()
        self._log.emit("control", request=request.name, verb=request.verb, outcome="done")
        self._inbox.done(request)

    def _wait_until_resumed(self) -> None:
        while not self._is_ending():
            self._timing.sleep(self._timing.poll_interval)
            request = self._inbox.next()
            if request and request.verb == "pause":
                self._inbox.done(request)
            elif request:
                self._handle(request)
                if request.verb == "resume":
                    return
