"""Did a run repeat? Two records of the same training, compared number by number; nothing here reads files or trains."""

import dataclasses
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# The third decimal of a loss, which is what a curve shows. Measured on float32 runs
# (docs/explanation/reproducibility.md): rounding begins at 1e-7 and, in a transformer, is magnified beyond this after
# some 200 steps; another seed takes 20 at most.
TOLERANCE = 1e-3
_ROUNDING_BEGINS = 1e-6  # a few units in the last place of a float32; another seed began with 7e-5 and more
_ROUNDING_GROWS = 100.0  # fold in a step, at most: 6 was the most that was seen

IDENTICAL, ROUNDING, DIVERGED = "identical", "rounding", "departs"


class EvalScores(NamedTuple):
    """An evaluation's numbers; NaN where it had none."""

    loss: float
    bpb: float


class TrainingRecord(NamedTuple):
    """What a run left behind, by step; index i of `losses` is step i + 1."""

    losses: Sequence[float]
    evals: Mapping[int, EvalScores]
    samples: Mapping[int, str]
    weights: Mapping[int, str]  # sha256 of each kept checkpoint's model.safetensors
    environment: Mapping[str, str]
    unreadable: Sequence[range] = ()  # steps whose losses could not be read


class ValueDifference(NamedTuple):
    """Two values that should be the same. `size` is `distance` of numbers, infinite for texts."""

    what: str  # loss, validation loss, validation bpb or sample
    step: int
    original: float | str
    reproduction: float | str
    size: float


class MatchCount(NamedTuple):
    """How many of a kind were compared, and how many of those are the same bit for bit."""

    compared: int
    same: int


class EnvironmentChange(NamedTuple):
    """Something of the environment that was another; None where it was not recorded."""

    name: str
    original: str | None
    reproduction: str | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What two records have in common. `first` is the first number that is not the same bit for bit, `departure` the
    first that is further away than the tolerance, `largest` the one that is furthest away."""

    tolerance: float
    losses: MatchCount
    evals: MatchCount
    samples: MatchCount
    weights: MatchCount
    weights_step: int | None  # of the last checkpoint that both have
    weights_same: bool | None  # at that step
    first: ValueDifference | None
    largest: ValueDifference | None
    departure: ValueDifference | None
    growth: float  # the most by which the largest difference multiplied at once, until it departed
    environment: list[EnvironmentChange]
    unreadable: int = 0  # losses that both runs recorded, and that could not be read in one of them

    @property
    def is_magnified_rounding(self) -> bool:
        """Whether it departed as rounding does, which training magnifies: from nothing, and without a jump."""
        begun = self.first is not None and self.first.size <= _ROUNDING_BEGINS
        return self.departure is not None and begun and self.growth <= _ROUNDING_GROWS

    @property
    def verdict(self) -> str:
        if self.departure:
            return DIVERGED
        tallies = (self.losses, self.evals, self.samples, self.weights)
        return IDENTICAL if all(tally.same == tally.compared for tally in tallies) else ROUNDING


def compare_records(
    original: TrainingRecord, reproduction: TrainingRecord, after: int = -1, tolerance: float = TOLERANCE
) -> Comparison:
    """Compare what both have of the steps later than `after`: up to there the reproduction is a copy."""
    found = _compare_numbers(original, reproduction, after, tolerance)
    texts = [
        (step, original.samples[step], reproduction.samples[step])
        for step in _find_common_steps("samples", original, reproduction, after)
    ]
    steps = _find_common_steps("weights", original, reproduction, after)
    same_weights = [step for step in steps if original.weights[step] == reproduction.weights[step]]
    departure = found.departure
    if found.first is None and len(same_weights) == len(
        steps
    ):  # the same numbers say the same, unless sampling changed
        departure = next((ValueDifference("sample", *text, math.inf) for text in texts if text[1] != text[2]), None)
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
        departure,
        found.growth,
        find_changes(original.environment, reproduction.environment),
        _count_unreadable(original, reproduction, after),
    )


def compute_distance(a: float, b: float) -> float:
    """Relative to the larger number, but absolute below one nat or bit: what is nearly learnt by heart is nearly zero.
    NaN is as far from NaN as any number from itself, and infinitely far from all others."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    apart = abs(a - b) / max(1.0, abs(a), abs(b))
    return apart if math.isfinite(apart) else math.inf


def find_changes(original: Mapping[str, str], reproduction: Mapping[str, str]) -> list[EnvironmentChange]:
    """What differs, in the order of the records."""
    names = dict.fromkeys((*original, *reproduction))
    both = (EnvironmentChange(name, original.get(name), reproduction.get(name)) for name in names)
    return [change for change in both if change.original != change.reproduction]


class _NumberPairs(NamedTuple):
    """The numbers of a step's loss, or of an evaluation: what, the original's, the reproduction's."""

    step: int
    numbers: tuple[tuple[str, float, float], ...]


@dataclasses.dataclass
class _Findings:
    losses: MatchCount = dataclasses.field(default_factory=lambda: MatchCount(0, 0))
    evals: MatchCount = dataclasses.field(default_factory=lambda: MatchCount(0, 0))
    first: ValueDifference | None = None
    largest: ValueDifference | None = None
    departure: ValueDifference | None = None
    growth: float = 1.0


def _compare_numbers(original: TrainingRecord, reproduction: TrainingRecord, after: int, tolerance: float) -> _Findings:
    """Every number in the order of training; at the same step the loss is first: an evaluation sees its update."""
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
    if found.departure is None and found.largest:
        found.growth = max(found.growth, difference.size / found.largest.size)
    if found.largest is None or difference.size > found.largest.size:
        found.largest = difference
    if found.departure is None and difference.size > tolerance:
        found.departure = difference


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
    """Steps that both have; what a person asked one of them for beside the schedule is left out."""
    steps = getattr(original, column).keys() & getattr(reproduction, column).keys()
    return sorted(step for step in steps if step > after)
