"""How far a study is, from its events: which runs are on, how each ended, and how long the rest will take."""

from collections.abc import Iterable
from typing import NamedTuple

from engines.ablation.study import Study
from engines.events import Event
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.reader import EventReader


class Told(NamedTuple):
    """The latest that was told of a run."""

    cell: str
    seed: int
    rung: int
    run: str
    state: str  # running, or its outcome
    val_bpb: float | None
    seconds: float | None  # of training, when it is over


class Progress:
    """The sum of a study's events so far."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.told: dict[tuple[str, int, int], Told] = {}  # by cell, seed and rung
        self._started: tuple[float, int] | None = None  # when this queue began, and what was done then
        self._t = 0.0

    def apply(self, events: Iterable[Event]) -> None:
        for event in events:
            self._t = event["t"]
            if event["kind"] == "run":
                self._started = None
            elif event["kind"] == "phase" and event["done"] is not None:
                self._count(event)

    def seconds_left(self) -> float | None:
        """At the pace since this queue began; None before it has finished a run."""
        if self._started is None or self.done == self._started[1]:
            return None
        since, done_before = self._started
        return (self._t - since) / (self.done - done_before) * (self.total - self.done)

    def _count(self, event: Event) -> None:
        self.done, self.total = event["done"], event["total"]
        if self._started is None:
            self._started = event["t"], self.done
        if cell := event.get("cell"):
            told = Told(**{name: cell.get(name) for name in Told._fields})
            self.told[told.cell, told.seed, told.rung] = told


class StudyWatch:
    """One study, as far as it has been read."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.history = History()  # how the queue goes and how it ended; what the runs do is in theirs
        self.progress = Progress()
        self.state = "starting"
        self._reader = EventReader(study.events_path)

    def poll(self) -> None:
        """Read what is new; state, history and progress are up to date after it."""
        held = liveness.lock_is_held(self.study.lock_path)  # before reading: its last word is not missed
        found = [event for _, event in self._reader.poll()]
        self.history.apply(found)
        self.history.count_damage(self._reader)
        self.progress.apply(found)
        look_up = liveness.live_state if held else liveness.ended_state
        self.state = look_up(self.study, self.history)
