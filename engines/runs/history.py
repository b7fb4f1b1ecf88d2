"""What a run's events add up to: curves, evaluations, samples, guards, how it goes and how it ended."""

from array import array
from collections.abc import Iterable

from engines.best import is_better
from engines.events import Event, column
from engines.runs.reader import EventReader
from engines.runs.store import Run

_COLUMNS = ("losses", "lr", "seconds", "grad_norms")


class History:
    """The sum of all events applied so far. Index i of a column is step i + 1.

    With `recent`, rates and gradient norms are those of about as many newest steps: a viewer may watch for days.
    """

    def __init__(self, recent: int | None = None) -> None:
        self._recent = recent
        self.losses = array("d")
        self.lr = array("d")
        self.seconds = array("d")
        self.grad_norms = array("d")
        self.tokens = 0
        self.runs: list[Event] = []  # one for each start of a worker
        self.phases: list[Event] = []  # of the latest start
        self.evals: list[Event] = []
        self.best_eval: Event | None = None  # by bits per byte
        self.samples: list[Event] = []
        self.guards: list[Event] = []
        self.checkpoints: list[Event] = []
        self.engine: Event | None = None  # what the latest start decided for its machine
        self.system: Event | None = None
        self.rewinds: list[int] = []  # steps that the run went back to
        self.paused = False
        self.ended: Event | None = None  # of the latest start
        self.last_t = 0.0
        self.bad_events = 0  # right in form, wrong in content

    @property
    def step(self) -> int:
        return len(self.losses)

    def tokens_per_second(self, window: int = 50) -> float:
        """Training throughput over the last `window` steps, from the tokens of an average step."""
        recent = self.seconds[-window:]
        elapsed = sum(recent)
        return self.tokens / self.step * len(recent) / elapsed if self.step and elapsed > 0 else 0.0

    def mfu(self) -> float | None:
        """The part of the GPU's peak that training reaches, where both are known."""
        if self.engine is None or not self.engine["peak_flops"]:
            return None
        return self.tokens_per_second() * float(self.engine["flops_per_token"] / self.engine["peak_flops"])

    def apply(self, events: Iterable[Event]) -> None:
        for event in events:
            try:
                self._apply(event)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
                self.bad_events += 1

    def _apply(self, event: Event) -> None:
        self.last_t = max(self.last_t, event["t"])
        kind = event["kind"]
        if kind == "steps":
            self._add_steps(event)
        elif kind == "resumed":
            self._drop_after(event["from_step"])
        elif kind == "run":
            self.runs.append(event)
            self.phases, self.ended, self.paused = [], None, False
        elif kind == "phase":
            self._add_phase(event)
        elif kind == "control":
            self._note_control(event)
        elif kind == "eval":
            self._add_eval(event)
        elif kind in ("system", "engine"):
            setattr(self, kind, event)
        elif kind == "ended":
            self.ended = event
        elif kind != "heartbeat":
            getattr(self, kind + "s").append(event)

    def _add_steps(self, event: Event) -> None:
        columns = [array("d", column(event, name)) for name in _COLUMNS]
        if len({len(values) for values in columns}) != 1:
            raise ValueError("columns of unequal length")
        if event["first_step"] != self.step + 1:
            raise ValueError("steps out of order")
        for name, values in zip(_COLUMNS, columns, strict=True):
            getattr(self, name).extend(values)
        self.tokens = event["tokens"]
        if self._recent is not None and len(self.lr) > 2 * self._recent:
            for values in (self.lr, self.grad_norms):
                del values[: -self._recent]

    def _add_eval(self, event: Event) -> None:
        """`best` is decided here: earlier versions recorded it by another criterion."""
        best = is_better(event["bpb"], self.best_eval["bpb"] if self.best_eval else None)
        event = {**event, "best": best}
        self.evals.append(event)
        if best:
            self.best_eval = event

    def _add_phase(self, event: Event) -> None:
        if self.phases and self.phases[-1]["phase"] == event["phase"]:  # progress within it
            event = {**event, "t": self.phases[-1]["t"]}
            self.phases.pop()
        self.phases.append(event)

    def _note_control(self, event: Event) -> None:
        if event["verb"] in ("pause", "resume") and event["outcome"] == "done":
            self.paused = event["verb"] == "pause"

    def _drop_after(self, step: int) -> None:
        """A run that went back to a checkpoint takes its later points with it."""
        self.rewinds.append(step)
        if self.step > step:
            self.tokens = self.tokens * step // self.step
        dropped = max(0, self.step - step)
        for name in _COLUMNS:
            values = getattr(self, name)
            del values[max(0, len(values) - dropped) :]
        self.evals = _up_to(step, self.evals)
        self.best_eval = next((event for event in reversed(self.evals) if event["best"]), None)
        self.samples = _up_to(step, self.samples)
        self.checkpoints = _up_to(step, self.checkpoints)


def read_history(run: Run) -> History:
    """All that a run has reported so far."""
    history = History()
    history.apply(event for _, event in EventReader(run.events_path).poll())
    return history


def _up_to(step: int, events: list[Event]) -> list[Event]:
    return [event for event in events if event["step"] <= step]
