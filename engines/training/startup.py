"""Reports of a worker before its first step: phases, progress within a phase, and notes."""

import time

from engines.runs.control import Inbox
from engines.runs.log import EventLog
from engines.training.ending import Ending, StopRequested

_REPORT_INTERVAL = 0.5  # seconds between reports of progress


class StartupReporter:
    """Records phases, progress and notes as events, and stops the worker on request."""

    def __init__(self, log: EventLog, inbox: Inbox) -> None:
        self._log = log
        self._inbox = inbox
        self._phase = ""
        self._reported = 0.0
        self._notes: set[str] = set()

    def enter_phase(self, phase: str) -> None:
        """Record the beginning of a phase: import, data, model, compile or train."""
        self._phase = phase
        self._log.emit("phase", phase=phase, done=None, total=None)

    def note(self, message: str) -> None:
        """Record a sentence for the user once, even if text is prepared in two processes."""
        if message not in self._notes:
            self._notes.add(message)
            self._log.emit("note", message=message)

    def report_progress(self, activity: str, done: int, total: int | None) -> None:
        """Record the progress of the phase, at most every half second. Called for every document.

        Raises StopRequested if the user requested to stop.
        """
        now = time.monotonic()
        if now - self._reported < _REPORT_INTERVAL:
            return
        if self._reported:  # the first report may be of work that is done at once
            self._log.emit("phase", phase=self._phase, activity=activity, done=done, total=total)
        self._reported = now
        request = self._inbox.next()
        if request and request.verb == "stop":
            self._log.emit("control", request=request.name, verb="stop", outcome="done")
            self._inbox.done(request)
            raise StopRequested(Ending("stopped", 0))
