"""The accumulated events of a run: curves, evaluations, samples, guards, state and ending."""

from collections.abc import Iterable, Iterator

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.events import Event
from engines.runs.best_eval import is_better
from engines.runs.reader import EventReader
from engines.runs.step_columns import StepColumns
from engines.runs.store import Run

_MAX_NAMED_GAPS = 3  # in a sentence


class History(StepColumns):
    """The sum of all events applied so far: the columns of the steps, and the other events by kind."""

    def __init__(self, recent: int | None = None) -> None:
        """`recent`: see `StepColumns`."""
        super().__init__(recent)
        self.runs: list[Event] = []  # one for each start of a worker
        self.phases: list[Event] = []  # of the latest start
        self.evals: list[Event] = []
        self.best_eval: Event | None = None  # by bits per byte
        self.samples: list[Event] = []
        self.guards: list[Event] = []
        self.checkpoints: list[Event] = []
        self.notes: list[Event] = []
        self.engine: Event | None = None  # decisions of the latest start for its machine
        self.first_engine: Event | None = None  # decisions of the first start
        self.system: Event | None = None
        self.paused = False
        self.ended: Event | None = None  # of the latest start
        self.last_t = 0.0  # seconds from the first start to the newest event
        self.unreadable_lines = 0  # lines of the log that are damaged or missing
        self.bad_events = 0  # valid JSON with impossible content
        self._problem = ""  # why the whole log could not be read

    @property
    def damage(self) -> str:
        """One sentence about what could not be read; empty if everything was."""
        if self._problem:
            return self._problem
        lines = max(self.unreadable_lines + self.bad_events, self._lost_rewinds)
        counted = f"{lines:,} line{'s' * (lines != 1)} of events.jsonl"
        if self.missing:
            cause = f": {counted} {'are' if lines != 1 else 'is'} damaged or missing" if lines else ""
            return f"{_format_steps(self.missing)} could not be read{cause}."
        return f"{counted} could not be read." if lines else ""

    def mfu(self) -> float | None:
        """Return the model FLOPs utilization of the newest steps, between 0 and 1; None without a GPU of known peak."""
        if self.engine is None or not self.engine["peak_flops"]:
            return None
        return self.tokens_per_second() * float(self.engine["flops_per_token"] / self.engine["peak_flops"])

    def read(self, reader: EventReader) -> Iterator[tuple[bytes, Event]]:
        """Apply the new events of a log, and yield each line and event after it was applied."""
        for line, event in reader.poll():
            self.apply([event])
            yield line, event
        self.count_damage(reader)

    def count_damage(self, reader: EventReader) -> None:
        """Update the counts of what the reader could not read."""
        self.unreadable_lines, self._problem = reader.lost_lines, reader.problem

    def apply(self, events: Iterable[Event]) -> None:
        """Add events in the order of the log. Those with impossible content are counted in `bad_events`."""
        for event in events:
            try:
                self._apply(event)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
                self.bad_events += 1

    def _apply(self, event: Event) -> None:
        self.last_t = max(self.last_t, event["t"])
        kind = event["kind"]
        if kind == "steps":
            self.add_steps(event)
        elif kind == "resumed":
            self.continue_from(event["from_step"])
        elif kind == "run":
            self.runs.append(event)
            self.phases, self.ended, self.paused = [], None, False
        elif kind == "phase":
            self._add_phase(event)
        elif kind == "control":
            self._add_control(event)
        elif kind == "eval":
            self._add_eval(event)
        elif kind in ("system", "engine"):
            setattr(self, kind, event)
            self.first_engine = self.first_engine or self.engine
        elif kind == "ended":
            self.ended = event
        elif kind != "heartbeat":
            getattr(self, kind + "s").append(event)

    def _add_eval(self, event: Event) -> None:
        """Add an evaluation. `best` is decided here: earlier versions recorded it by another criterion."""
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

    def _add_control(self, event: Event) -> None:
        if event["verb"] in ("pause", "resume") and event["outcome"] == "done":
            self.paused = event["verb"] == "pause"

    def continue_from(self, step: int) -> None:
        """Continue after this step, and drop the evaluations, samples and checkpoints of later ones."""
        super().continue_from(step)
        self.evals = _filter_up_to(step, self.evals)
        self.best_eval = next((event for event in reversed(self.evals) if event["best"]), None)
        self.samples = _filter_up_to(step, self.samples)
        self.checkpoints = _filter_up_to(step, self.checkpoints)


def read_history(run: Run) -> History:
    """Return everything that a run has recorded so far."""
    history = History()
    for _ in history.read(EventReader(run.events_path)):
        pass
    return history


def read_resumable_history(run: Run, lines: list[bytes] | None = None) -> History:
    """Read the history of a run that is about to continue, and add its lines to `lines`.

    Raises UserError if it cannot be read. A log without events next to checkpoints was lost: a new log would hide that.
    """
    history, reader = History(), EventReader(run.events_path)
    for line, _ in history.read(reader):
        if lines is not None:
            lines.append(line)
    reason = reader.problem if run.events_path.exists() or _has_checkpoints(run) else ""
    if not reason and not history.runs and not history.step and _has_checkpoints(run):
        reason = "it has checkpoints, but no line of events.jsonl can be read."
    if reason:
        raise UserError(
            f"run {run.id} cannot be resumed: {reason} Restore {run.events_path} from a backup, "
            f"or start a new run with --config {run.config_path}."
        )
    if reader.newer_schema:
        raise UserError(f"run {run.id} cannot be resumed: {reader.newer_schema}. Update nanochat-tui.")
    return history


def _format_steps(gaps: list[range]) -> str:
    """Return a phrase such as `steps 3 and 5–8`."""
    words = [f"{gap[0]:,}" if len(gap) == 1 else f"{gap[0]:,}–{gap[-1]:,}" for gap in gaps[:_MAX_NAMED_GAPS]]
    if more := max(0, len(gaps) - _MAX_NAMED_GAPS):
        words.append(f"{more} more ranges" if more > 1 else "1 more range")
    several = len(gaps) > 1 or len(gaps[0]) > 1
    return f"step{'s' * several} {' and '.join([', '.join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]}"


def _has_checkpoints(run: Run) -> bool:
    try:
        return bool(list_steps(run.checkpoints_dir))
    except (OSError, KeyError):  # a study has none
        return False


def _filter_up_to(step: int, events: list[Event]) -> list[Event]:
    return [event for event in events if event["step"] <= step]
