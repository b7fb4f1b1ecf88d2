"""The numbers of each training step of a run: losses, learning rates, durations, gradient norms and progress."""

import math
from array import array
from collections.abc import Iterator

from engines.events import Event, decode_column

COLUMNS = ("losses", "lr", "seconds", "grad_norms")
_MAX_MISSING = 2_000_000  # steps in total; a gap takes memory, and a forged step number may be arbitrarily large
_MAX_SECONDS = 1e10  # of the steps in one event, as of every other duration


class StepColumns:
    """One array per quantity; index i is step i + 1. Steps whose lines were lost are NaN, and `missing` lists them.

    With `recent`, learning rates and gradient norms are kept of about as many newest steps: a viewer may run for days.
    """

    def __init__(self, recent: int | None = None) -> None:
        self._recent = recent
        self.losses = array("d")  # nats per token
        self.lr = array("d")
        self.seconds = array("d")
        self.grad_norms = array("d")
        self.progress = array("d")  # empty unless the schedule follows progress; NaN for steps without
        self.last_progress: float | None = None  # of the newest step, if the schedule follows progress
        self.tokens = 0
        self.missing: list[range] = []  # steps that could not be read
        self.rewinds: list[int] = []  # steps that the run returned to
        self._lost_rewinds = 0  # steps that were repeated without an event that says so

    @property
    def step(self) -> int:
        """The newest step."""
        return len(self.losses)

    @property
    def last_loss(self) -> float | None:
        """Loss of the newest step; None if there is none or it could not be read."""
        is_missing = bool(self.missing) and self.missing[-1].stop > self.step
        return self.losses[-1] if self.losses and not is_missing else None

    @property
    def train_seconds(self) -> float:
        """Total duration of all steps; NaN if some could not be read."""
        return math.fsum(self.seconds)

    def newest_losses(self, count: int, until: int | None = None) -> list[float]:
        """Return the losses of the last `count` steps up to `until`, without those that could not be read."""
        last = self.step if until is None else min(until, self.step)
        first = max(1, last - count + 1)
        gaps = [gap for gap in self.missing if gap.stop > first]
        return [self.losses[step - 1] for step in range(first, last + 1) if not any(step in gap for gap in gaps)]

    def iter_readable(self, after: int = 0) -> Iterator[range]:
        """Yield ranges of the steps later than `after` that could be read, without gaps in each range."""
        for gap in [*self.missing, range(self.step + 1, self.step + 1)]:
            if after + 1 < gap.start:
                yield range(after + 1, gap.start)
            after = max(after, gap.stop - 1)

    # --- speed and time left ----------------------------------------------------------------------

    def fraction_done(self, steps: int) -> float:
        """Return the fraction of a run of `steps` that is done, between 0 and 1; under a time budget, by the clock."""
        fraction = self.step / steps if steps else 0.0
        return min(1.0, max(fraction, self.last_progress or 0.0))

    def estimate_seconds_left(self, steps: int) -> float | None:
        """Return the training time left of a run of `steps`, by its recent speed or time budget; None if unknown."""
        if self.last_progress:
            left = self.train_seconds * (1.0 / self.last_progress - 1.0)
            return None if math.isnan(left) else left
        speed = self.tokens_per_second()
        return max(0, steps - self.step) * self.tokens / self.step / speed if speed else None

    def tokens_per_second(self, window: int = 50) -> float:
        """Return the training throughput over the last `window` steps, with the tokens of an average step."""
        recent = [seconds for seconds in self.seconds[-window:] if not math.isnan(seconds)]
        elapsed = sum(recent)
        return self.tokens / self.step * len(recent) / elapsed if self.step and elapsed > 0 else 0.0

    def mean_tokens_per_second(self) -> float:
        """Return the training throughput over all steps; 0 if there are none, or some could not be read."""
        return self.tokens / self.train_seconds if self.train_seconds > 0 else 0.0

    # --- changes ----------------------------------------------------------------------------------

    def add_steps(self, event: Event) -> None:
        """Add the steps of an event, unless it is a copy. Raises ValueError for impossible or contradicting values."""
        columns = [array("d", decode_column(event, name)) for name in COLUMNS]
        first, count = event["first_step"], len(columns[0])
        if len({len(values) for values in columns}) != 1:
            raise ValueError("columns of unequal length")
        _require_durations(columns[COLUMNS.index("seconds")])
        progress = _read_progress(event, count)
        if first != self.step + 1:
            if self._contains(first, columns):  # a second copy of a line
                return
            self._make_room(event, count)
        for name, values in zip(COLUMNS, columns, strict=True):
            getattr(self, name).extend(values)
        self._add_progress(first - 1, progress)
        self.tokens = event["tokens"]
        if self._recent is not None and len(self.lr) > 2 * self._recent:
            for values in (self.lr, self.grad_norms):
                del values[: -self._recent]

    def continue_from(self, step: int) -> None:
        """Continue after this step: drop later ones, which a run repeats after a restore, or mark lost ones."""
        if step > self.step:
            self._add_missing(range(self.step + 1, step + 1))
        self.rewinds.append(step)
        if self.step > step:
            self.tokens = self.tokens * step // self.step
        dropped = max(0, self.step - step)
        for name in COLUMNS:
            values = getattr(self, name)
            del values[max(0, len(values) - dropped) :]
        self.missing = [range(gap.start, min(gap.stop, step + 1)) for gap in self.missing if gap.start <= step]
        del self.progress[step:]

    def mark_missing_until(self, step: int) -> None:
        """Count steps up to this one as lost, if the log ends earlier: a checkpoint shows that they were trained."""
        if 0 < step - self.step <= _MAX_MISSING:
            self._add_missing(range(self.step + 1, step + 1))

    def _add_progress(self, before: int, progress: "array[float]") -> None:
        """Add the progress of steps later than `before`. A viewer of recent steps does not keep all of it."""
        self.last_progress = progress[-1] if progress else None
        if self._recent is None and (self.progress or progress):
            self.progress.extend(array("d", [math.nan]) * (before - len(self.progress)))
            self.progress.extend(progress)
            self.progress.extend(array("d", [math.nan]) * (self.step - len(self.progress)))

    def _contains(self, first: int, columns: list["array[float]"]) -> bool:
        """Return whether exactly these steps were added already."""
        at = slice(first - 1, first - 1 + len(columns[0]))
        seconds = columns[COLUMNS.index("seconds")]
        return self.losses[at].tobytes() == columns[0].tobytes() and self.seconds[at].tobytes() == seconds.tobytes()

    def _make_room(self, event: Event, count: int) -> None:
        """Prepare for steps that do not follow the last one: the lines between them were lost."""
        before = event["first_step"] - 1
        if self.step and event["tokens"] * self.step != self.tokens * (before + count):  # tokens per step are constant
            raise ValueError("first_step contradicts tokens")
        if before > self.step:
            self._add_missing(range(self.step + 1, before + 1))
        else:  # the run returned to an earlier step, and the line that says so was lost
            self._lost_rewinds += 1
            self.continue_from(before)

    def _add_missing(self, gap: range) -> None:
        """Fill the columns with NaN for steps that could not be read."""
        if len(gap) + sum(map(len, self.missing)) > _MAX_MISSING:
            raise ValueError("more steps are missing than a damaged log can lose")
        if self.step:
            self.tokens = self.tokens * gap[-1] // self.step
        for name in COLUMNS:
            getattr(self, name).extend(array("d", [math.nan]) * len(gap))
        if self.missing and self.missing[-1].stop == gap.start:
            gap = range(self.missing.pop().start, gap.stop)
        self.missing.append(gap)


def _require_durations(seconds: "array[float]") -> None:
    if seconds and not (min(seconds) >= 0 and sum(seconds) <= _MAX_SECONDS):  # the sum of a NaN is NaN
        raise ValueError("a duration that no clock can have measured")


def _read_progress(event: Event, count: int) -> "array[float]":
    """Return the progress of each of `count` steps; empty if the schedule does not follow it."""
    progress = array("d", decode_column(event, "progress") if event.get("progress") else [])
    if progress and not (len(progress) == count and min(progress) >= 0 and max(progress) <= 1):
        raise ValueError("progress that no run can have")
    return progress
