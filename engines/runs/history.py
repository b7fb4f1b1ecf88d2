"""The accumulated events of a run: curves, evaluations, samples, guards, its state and its end."""

import math
from array import array
from collections.abc import Iterable, Iterator

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.events import Event, decode_column
from engines.runs.best_eval import is_better
from engines.runs.reader import EventReader
from engines.runs.store import Run

_COLUMNS = ("losses", "lr", "seconds", "grad_norms")
_MOST_MISSING = 2_000_000  # steps left out in total; a gap takes memory, and a forged number may be arbitrarily large
_MOST_SECONDS = 1e10  # of the steps in one event, as of every other duration
_GAPS_NAMED = 3  # in a sentence


class History:
    """The sum of all events applied so far. Index i of a column is step i + 1.

    Steps whose lines were lost are NaN in every column, and `missing` lists them.
    With `recent`, rates and gradient norms are those of about as many newest steps: a viewer may watch for days.
    """

    def __init__(self, recent: int | None = None) -> None:
        self._recent = recent
        self.losses = array("d")
        self.lr = array("d")
        self.seconds = array("d")
        self.grad_norms = array("d")
        self.progress = array("d")  # empty unless the schedule follows it; NaN for steps without
        self.last_progress: float | None = None  # of the newest step, where the schedule follows progress
        self.tokens = 0
        self.runs: list[Event] = []  # one for each start of a worker
        self.phases: list[Event] = []  # of the latest start
        self.evals: list[Event] = []
        self.best_eval: Event | None = None  # by bits per byte
        self.samples: list[Event] = []
        self.guards: list[Event] = []
        self.checkpoints: list[Event] = []
        self.notes: list[Event] = []
        self.engine: Event | None = None  # what the latest start decided for its machine
        self.first_engine: Event | None = None  # what the first start decided
        self.system: Event | None = None
        self.rewinds: list[int] = []  # steps that the run went back to
        self.paused = False
        self.ended: Event | None = None  # of the latest start
        self.last_t = 0.0
        self.missing: list[range] = []  # steps that could not be read
        self.unreadable_lines = 0  # lines of the log that are damaged or missing
        self.bad_events = 0  # right in form, wrong in content
        self._lost_rewinds = 0  # steps that were repeated although no event says that the run went back
        self._problem = ""  # why the whole log could not be read

    @property
    def step(self) -> int:
        return len(self.losses)

    @property
    def last_loss(self) -> float | None:
        """Loss of the newest step; None where there is none or it could not be read."""
        is_missing = bool(self.missing) and self.missing[-1].stop > self.step
        return self.losses[-1] if self.losses and not is_missing else None

    @property
    def train_seconds(self) -> float:
        """Total duration of all steps; NaN where some could not be read."""
        return math.fsum(self.seconds)

    @property
    def damage(self) -> str:
        """One sentence about what could not be read; empty where everything was."""
        if self._problem:
            return self._problem
        lines = max(self.unreadable_lines + self.bad_events, self._lost_rewinds)
        counted = f"{lines:,} line{'s' * (lines != 1)} of events.jsonl"
        if self.missing:
            cause = f": {counted} {'are' if lines != 1 else 'is'} damaged or missing" if lines else ""
            return f"{_format_steps(self.missing)} could not be read{cause}."
        return f"{counted} could not be read." if lines else ""

    def newest_losses(self, count: int, until: int | None = None) -> list[float]:
        """Return the losses of the last `count` steps up to `until`, without those that could not be read."""
        last = self.step if until is None else min(until, self.step)
        first = max(1, last - count + 1)
        gaps = [gap for gap in self.missing if gap.stop > first]
        return [self.losses[step - 1] for step in range(first, last + 1) if not any(step in gap for gap in gaps)]

    def readable(self, after: int = 0) -> Iterator[range]:
        """Yield ranges of the steps later than `after` that could be read, without gaps in each range."""
        for gap in [*self.missing, range(self.step + 1, self.step + 1)]:
            if after + 1 < gap.start:
                yield range(after + 1, gap.start)
            after = max(after, gap.stop - 1)

    def fraction_done(self, steps: int) -> float:
        """Return the fraction of a run of `steps` that is done, between 0 and 1; under a time budget, by the clock."""
        share = self.step / steps if steps else 0.0
        return min(1.0, max(share, self.last_progress or 0.0))

    def estimate_seconds_left(self, steps: int) -> float | None:
        """Return the training time left of a run of `steps`, by its recent speed or time budget; None if unknown."""
        if self.last_progress:
            left = self.train_seconds * (1.0 / self.last_progress - 1.0)
            return None if math.isnan(left) else left
        speed = self.tokens_per_second()
        return max(0, steps - self.step) * self.tokens / self.step / speed if speed else None

    def tokens_per_second(self, window: int = 50) -> float:
        """Training throughput over the last `window` steps, from the tokens of an average step."""
        recent = [seconds for seconds in self.seconds[-window:] if not math.isnan(seconds)]
        elapsed = sum(recent)
        return self.tokens / self.step * len(recent) / elapsed if self.step and elapsed > 0 else 0.0

    def mean_tokens_per_second(self) -> float:
        """Return the training throughput over all steps; 0 if there are none, or some could not be read."""
        return self.tokens / self.train_seconds if self.train_seconds > 0 else 0.0

    def mfu(self) -> float | None:
        """The part of the GPU's peak that training reaches, where both are known."""
        if self.engine is None or not self.engine["peak_flops"]:
            return None
        return self.tokens_per_second() * float(self.engine["flops_per_token"] / self.engine["peak_flops"])

    def read(self, reader: EventReader) -> Iterator[tuple[bytes, Event]]:
        """Apply what is new in a log, and yield each line and event after it was applied."""
        for line, event in reader.poll():
            self.apply([event])
            yield line, event
        self.count_damage(reader)

    def count_damage(self, reader: EventReader) -> None:
        """Update the figures about what the reader could not read."""
        self.unreadable_lines, self._problem = reader.lost_lines, reader.problem

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
            self._continue_from(event["from_step"])
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
            self.first_engine = self.first_engine or self.engine
        elif kind == "ended":
            self.ended = event
        elif kind != "heartbeat":
            getattr(self, kind + "s").append(event)

    def _add_steps(self, event: Event) -> None:
        columns = [array("d", decode_column(event, name)) for name in _COLUMNS]
        first, count = event["first_step"], len(columns[0])
        if len({len(values) for values in columns}) != 1:
            raise ValueError("columns of unequal length")
        _check_seconds(columns[_COLUMNS.index("seconds")])
        progress = _read_progress(event, count)
        if first != self.step + 1:
            if self._holds(first, columns):  # a second copy of a line
                return
            self._find_place(event, count)
        for name, values in zip(_COLUMNS, columns, strict=True):
            getattr(self, name).extend(values)
        self._add_progress(first - 1, progress)
        self.tokens = event["tokens"]
        if self._recent is not None and len(self.lr) > 2 * self._recent:
            for values in (self.lr, self.grad_norms):
                del values[: -self._recent]

    def _add_progress(self, before: int, progress: "array[float]") -> None:
        """Add the progress of steps later than `before`. A viewer of recent steps does not keep all of it."""
        self.last_progress = progress[-1] if progress else None
        if self._recent is None and (self.progress or progress):
            self.progress.extend(array("d", [math.nan]) * (before - len(self.progress)))
            self.progress.extend(progress)
            self.progress.extend(array("d", [math.nan]) * (self.step - len(self.progress)))

    def _add_eval(self, event: Event) -> None:
        """Add an evaluation. `best` is decided here: earlier versions recorded it by another criterion."""
        best = is_better(event["bpb"], self.best_eval["bpb"] if self.best_eval else None)
        event = {**event, "best": best}
        self.evals.append(event)
        if best:
            self.best_eval = event

    def _holds(self, first: int, columns: list["array[float]"]) -> bool:
        """Return whether exactly these steps were applied already."""
        at = slice(first - 1, first - 1 + len(columns[0]))
        seconds = columns[_COLUMNS.index("seconds")]
        return self.losses[at].tobytes() == columns[0].tobytes() and self.seconds[at].tobytes() == seconds.tobytes()

    def _find_place(self, event: Event, count: int) -> None:
        """Make room for steps that do not follow the last one: the lines between them were lost."""
        before = event["first_step"] - 1
        if self.step and event["tokens"] * self.step != self.tokens * (before + count):  # tokens per step are constant
            raise ValueError("first_step contradicts tokens")
        if before > self.step:
            self._leave_out(range(self.step + 1, before + 1))
        else:  # the run went back, and the line that says so was lost
            self._lost_rewinds += 1
            self._continue_from(before)

    def _add_phase(self, event: Event) -> None:
        if self.phases and self.phases[-1]["phase"] == event["phase"]:  # progress within it
            event = {**event, "t": self.phases[-1]["t"]}
            self.phases.pop()
        self.phases.append(event)

    def _note_control(self, event: Event) -> None:
        if event["verb"] in ("pause", "resume") and event["outcome"] == "done":
            self.paused = event["verb"] == "pause"

    def _continue_from(self, step: int) -> None:
        """Continue after this step: drop later ones, which a run repeats after going back, or leave out lost ones."""
        if step > self.step:
            self._leave_out(range(self.step + 1, step + 1))
        self.rewinds.append(step)
        if self.step > step:
            self.tokens = self.tokens * step // self.step
        dropped = max(0, self.step - step)
        for name in _COLUMNS:
            values = getattr(self, name)
            del values[max(0, len(values) - dropped) :]
        self.missing = [range(gap.start, min(gap.stop, step + 1)) for gap in self.missing if gap.start <= step]
        del self.progress[step:]
        self.evals = _filter_up_to(step, self.evals)
        self.best_eval = next((event for event in reversed(self.evals) if event["best"]), None)
        self.samples = _filter_up_to(step, self.samples)
        self.checkpoints = _filter_up_to(step, self.checkpoints)

    def mark_missing_until(self, step: int) -> None:
        """Count steps up to this one as lost, if the log ends earlier: a checkpoint shows that they were trained."""
        if 0 < step - self.step <= _MOST_MISSING:
            self._leave_out(range(self.step + 1, step + 1))

    def _leave_out(self, gap: range) -> None:
        """Fill the columns with NaN for steps that could not be read."""
        if len(gap) + sum(map(len, self.missing)) > _MOST_MISSING:
            raise ValueError("more steps are missing than a damaged log can lose")
        if self.step:
            self.tokens = self.tokens * gap[-1] // self.step
        for name in _COLUMNS:
            getattr(self, name).extend(array("d", [math.nan]) * len(gap))
        if self.missing and self.missing[-1].stop == gap.start:
            gap = range(self.missing.pop().start, gap.stop)
        self.missing.append(gap)


def _check_seconds(seconds: "array[float]") -> None:
    if seconds and not (min(seconds) >= 0 and sum(seconds) <= _MOST_SECONDS):  # the sum of a NaN is NaN
        raise ValueError("a duration that no clock can have measured")


def _read_progress(event: Event, count: int) -> "array[float]":
    """Return the progress of each of `count` steps; empty if the schedule does not follow it."""
    progress = array("d", decode_column(event, "progress") if event.get("progress") else [])
    if progress and not (len(progress) == count and min(progress) >= 0 and max(progress) <= 1):
        raise ValueError("progress that no run can have")
    return progress


def _format_steps(gaps: list[range]) -> str:
    words = [f"{gap[0]:,}" if len(gap) == 1 else f"{gap[0]:,}–{gap[-1]:,}" for gap in gaps[:_GAPS_NAMED]]
    if more := len(gaps) - _GAPS_NAMED if len(gaps) > _GAPS_NAMED else 0:
        words.append(f"{more} more ranges" if more > 1 else "1 more range")
    several = len(gaps) > 1 or len(gaps[0]) > 1
    return f"step{'s' * several} {' and '.join([', '.join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]}"


def read_history(run: Run) -> History:
    """All that a run has reported so far."""
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


def _has_checkpoints(run: Run) -> bool:
    try:
        return bool(list_steps(run.checkpoints_dir))
    except (OSError, KeyError):  # a study has none
        return False


def _filter_up_to(step: int, events: list[Event]) -> list[Event]:
    return [event for event in events if event["step"] <= step]
