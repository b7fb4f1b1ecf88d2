"""Compares two records of the same training, number by number. Nothing here reads files or trains."""

import dataclasses
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# The third decimal of a loss: the precision of a curve. Measured on float32 runs
# (docs/explanation/reproducibility.md): rounding begins at 1e-7 and, in a transformer, is magnified beyond this after
# some 200 steps; another seed takes 20 at most.
TOLERANCE = 1e-3
_MAX_FIRST_ROUNDING = 1e-6  # a few units in the last place of a float32; another seed began with 7e-5 and more
_MAX_ROUNDING_GROWTH = 100.0  # factor per step; the largest observed was 6

IDENTICAL, ROUNDING, DIVERGED = "identical", "rounding", "departs"


class EvalScores(NamedTuple):
    """The results of an evaluation; NaN where it recorded none."""

    loss: float
    bpb: float


class TrainingRecord(NamedTuple):
    """The recorded numbers of a run, by step; index i of `losses` is step i + 1."""

    losses: Sequence[float]
    evals: Mapping[int, EvalScores]
    samples: Mapping[int, str]
    weights: Mapping[int, str]  # sha256 of each kept checkpoint's model.safetensors
    environment: Mapping[str, str]
    unreadable: Sequence[range] = ()  # steps whose losses could not be read


class ValueDifference(NamedTuple):
    """Two values that should be equal. `size` is their `compute_distance`, infinite for texts."""

    what: str  # loss, validation loss, validation bpb or sample
    step: int
    original: float | str
    reproduction: float | str
    size: float


class MatchCount(NamedTuple):
    """Number of compared values, and how many of them are identical to the last bit."""

    compared: int
    same: int


class EnvironmentChange(NamedTuple):
    """A difference between two environments; None where it was not recorded."""

    name: str
    original: str | None
    reproduction: str | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of comparing two records.

    `first` is the first value that is not identical to the last bit, `divergence` the first that differs by more than
    the tolerance, and `largest` the largest difference.
    """

    tolerance: float
    losses: MatchCount
    evals: MatchCount
    samples: MatchCount
    weights: MatchCount
    weights_step: int | None  # of the last checkpoint in both
    weights_same: bool | None  # at that step
    first: ValueDifference | None
    largest: ValueDifference | None
    divergence: ValueDifference | None
    growth: float  # largest factor between successive maxima of the difference, until divergence
    environment: list[EnvironmentChange]
    unreadable: int = 0  # losses that both runs recorded and one of the logs has lost

    @property
    def is_magnified_rounding(self) -> bool:
        """True if the runs diverged as rounding errors do: from a tiny difference that grew without a jump."""
        began_small = self.first is not None and self.first.size <= _MAX_FIRST_ROUNDING
        return self.divergence is not None and began_small and self.growth <= _MAX_ROUNDING_GROWTH

    @property
    def verdict(self) -> str:
        """IDENTICAL, ROUNDING (within the tolerance) or DIVERGED."""
        if self.divergence:
            return DIVERGED
        tallies = (self.losses, self.evals, self.samples, self.weights)
        return IDENTICAL if all(tally.same == tally.compared for tally in tallies) else ROUNDING


def compare_records(
    original: TrainingRecord, reproduction: TrainingRecord, after: int = -1, tolerance: float = TOLERANCE
) -> Comparison:
    """Compare everything that both recorded after step `after`; up to there the reproduction is a copy."""
    found = _compare_numbers(original, reproduction, after, tolerance)
    texts = [
        (step, original.samples[step], reproduction.samples[step])
        for step in _find_common_steps("samples", original, reproduction, after)
    ]
    steps = _find_common_steps("weights", original, reproduction, after)
    same_weights = [step for step in steps if original.weights[step] == reproduction.weights[step]]
    divergence = found.divergence
    if found.first is None and len(same_weights) == len(
        steps
    ):  # equal weights generate equal samples, unless sampling changed
        divergence = next((ValueDifference("sample", *text, math.inf) for text in texts if text[1] != text[2]), None)
    return Comparison(
        tolerance,
        found.losses,
        found.evals,
        MatchCount(len(texts), sum(ours == theirs for _, ours, theirs in texts)),
        MatchCount(len(steps), len(same_weights)),
        steps[-1] if steps else None,
        steps[-1] in same_weights if steps else None,
        found.first,
        found.largest,
        divergence,
        found.growth,
        find_changes(original.environment, reproduction.environment),
        _count_unreadable(original, reproduction, after),
    )


def compute_distance(a: float, b: float) -> float:
    """Return the difference, relative to the larger number; absolute below 1, as losses approach zero.

    The distance between two NaN is 0, and between NaN and a number it is infinite.
    """
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    apart = abs(a - b) / max(1.0, abs(a), abs(b))
    return apart if math.isfinite(apart) else math.inf


def find_changes(original: Mapping[str, str], reproduction: Mapping[str, str]) -> list[EnvironmentChange]:
    """Return the differences between two environments, in the order of the records."""
    names = dict.fromkeys((*original, *reproduction))
    both = (EnvironmentChange(name, original.get(name), reproduction.get(name)) for name in names)
    return [change for change in both if change.original != change.reproduction]


class _NumberPairs(NamedTuple):
    """The losses, or the results of an evaluation, at one step: name, original and reproduction of each."""

    step: int
    numbers: tuple[tuple[str, float, float], ...]


@dataclasses.dataclass
class _Findings:
    losses: MatchCount = dataclasses.field(default_factory=lambda: MatchCount(0, 0))
    evals: MatchCount = dataclasses.field(default_factory=lambda: MatchCount(0, 0))
    first: ValueDifference | None = None
    largest: ValueDifference | None = None
    divergence: ValueDifference | None = None
    growth: float = 1.0


def _compare_numbers(original: TrainingRecord, reproduction: TrainingRecord, after: int, tolerance: float) -> _Findings:
    """Compare every number in the order of training; at the same step, the loss comes before the evaluation."""
    found = _Findings()
    losses, evals = _pair_losses(original, reproduction, after), _pair_evals(original, reproduction, after)
    for step, numbers in heapq.merge(losses, evals, key=lambda entry: entry.step):
        apart = [ValueDifference(what, step, a, b, size) for what, a, b in numbers if (size := compute_distance(a, b))]
        if numbers[0][0] == "loss":
            found.losses = MatchCount(found.losses.compared + 1, found.losses.same + (not apart))
        else:
            found.evals = MatchCount(found.evals.compared + 1, found.evals.same + (not apart))
        for difference in apart:
            _add_difference(found, difference, tolerance)
    return found


def _add_difference(found: _Findings, difference: ValueDifference, tolerance: float) -> None:
    found.first = found.first or difference
    if found.divergence is None and found.largest:
        found.growth = max(found.growth, difference.size / found.largest.size)
    if found.largest is None or difference.size > found.largest.size:
        found.largest = difference
    if found.divergence is None and difference.size > tolerance:
        found.divergence = difference


def _count_unreadable(original: TrainingRecord, reproduction: TrainingRecord, after: int) -> int:
    gaps = [*original.unreadable, *reproduction.unreadable]
    last = min(len(original.losses), len(reproduction.losses))
    return len({step for gap in gaps for step in range(max(gap.start, after + 1), min(gap.stop, last + 1))})


def _pair_losses(original: TrainingRecord, reproduction: TrainingRecord, after: int) -> Iterator[_NumberPairs]:
    gaps = [*original.unreadable, *reproduction.unreadable]
    for index in range(max(0, after), min(len(original.losses), len(reproduction.losses))):
        if any(index + 1 in gap for gap in gaps):
            continue
        yield _NumberPairs(index + 1, (("loss", original.losses[index], reproduction.losses[index]),))


def _pair_evals(original: TrainingRecord, reproduction: TrainingRecord, after: int) -> Iterator[_NumberPairs]:
    for step in _find_common_steps("evals", original, reproduction, after):
        ours, theirs = original.evals[step], reproduction.evals[step]
        yield _NumberPairs(
            step, (("validation loss", ours.loss, theirs.loss), ("validation bpb", ours.bpb, theirs.bpb))
        )


def _find_common_steps(column: str, original: TrainingRecord, reproduction: TrainingRecord, after: int) -> list[int]:
    """Return the steps that both recorded. Evaluations and samples on request are in one of them only."""
    steps = getattr(original, column).keys() & getattr(reproduction, column).keys()
    return sorted(step for step in steps if step > after)
