"""Progress of a study, from its events: the status of every run, and the estimated time until the end."""

from collections.abc import Iterable
from typing import NamedTuple

from engines.events import Event


class RunStatus(NamedTuple):
    """The newest status of a run, as the queue has recorded it."""

    cell: str
    seed: int
    rung: int
    run: str
    state: str  # running, or its outcome
    val_bpb: float | None
    seconds: float | None  # of training, once it has ended


class StudyProgress:
    """The accumulated events of a study."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.statuses: dict[tuple[str, int, int], RunStatus] = {}  # by cell, seed and rung
        self._started: tuple[float, int] | None = None  # time of this queue's start, and runs done before it
        self._t = 0.0

    def apply(self, events: Iterable[Event]) -> None:
        """Add events in the order of the log."""
        for event in events:
            self._t = event["t"]
            if event["kind"] == "run":
                self._started = None
            elif event["kind"] == "phase" and event["done"] is not None:
                self._apply_phase(event)

    def estimate_seconds_left(self) -> float | None:
        """Extrapolate from the pace of the current queue, or return None before it has finished a run."""
        if self._started is None or self.done == self._started[1]:
            return None
        since, done_before = self._started
        return (self._t - since) / (self.done - done_before) * (self.total - self.done)

    def _apply_phase(self, event: Event) -> None:
        self.done, self.total = event["done"], event["total"]
        if self._started is None:
            self._started = event["t"], self.done
        if cell := event.get("cell"):
            status = RunStatus(**{name: cell.get(name) for name in RunStatus._fields})
            self.statuses[status.cell, status.seed, status.rung] = status
