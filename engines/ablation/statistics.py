"""Student's t-test on paired differences and Holm's correction, in plain Python."""

import dataclasses
import math
from collections.abc import Sequence

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
_ROUNDING = 1e-9  # relative; scores are doubles, and real variation between seeds is far larger
_BISECTIONS = 80  # more than the bits of a float


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation; the latter is None for a single value."""

    n: int
    mean: float
    sd: float | None


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean of paired differences, with the result of Student's t-test.

    `p` is the probability of a mean at least as far from zero if there were no difference. `p_corrected` and the
    interval from `low` to `high` take the number of comparisons into account: the interval excludes zero exactly where
    `p_corrected` is below 5 %. All are None for a single pair, and where every pair differs by the same amount: such
    pairs show no variation between seeds that a test could use.
    """

    spread: Spread
    p: float | None = None
    p_corrected: float | None = None
    low: float | None = None
    high: float | None = None


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Spread(1, mean, None)
    return Spread(n, mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)))


def paired_difference(differences: Sequence[float]) -> Difference:
    """Test one or more paired differences, each between two runs with the same seed."""
    found = spread(differences)
    if found.sd is None or _are_equal(differences, found.sd):
        are_zero = found.sd is not None and not any(differences)
        return Difference(found, p=1.0 if are_zero else None)
    return Difference(found, p=1.0 - t_within(abs(found.mean) / _standard_error(found), found.n - 1))


def correct(differences: Sequence[Difference], without_p: int = 0) -> list[Difference]:
    """Correct a family of comparisons for their number, in the given order.

    `without_p` counts comparisons of the same family that have no p, because their runs are not done or because a
    selection by the same seeds left them out. They count as p = 1, which can only make the others' p larger, so the
    probability of any false verdict stays below 5 % (Holm, 1979).
    """
    ps = [difference.p for difference in differences if difference.p is not None]
    corrected = iter(holm([*ps, *[1.0] * without_p]))
    return [
        difference if difference.p is None else _corrected(difference, difference.p, next(corrected))
        for difference in differences
    ]


def with_interval(difference: Difference, error_rate: float) -> Difference:
    """Add the interval that misses the true mean with probability `error_rate`; none if the test does not apply."""
    found = difference.spread
    if difference.p is None or not found.sd:
        return difference
    reach = t_quantile(1.0 - error_rate, found.n - 1) * _standard_error(found)
    return dataclasses.replace(difference, low=found.mean - reach, high=found.mean + reach)


def _corrected(difference: Difference, p: float, p_corrected: float) -> Difference:
    # p_corrected is below ALPHA exactly where p is below this rate, so interval and verdict always agree.
    error_rate = ALPHA * p / p_corrected if p else ALPHA
    return dataclasses.replace(with_interval(difference, error_rate), p_corrected=p_corrected)


def _standard_error(found: Spread) -> float:
    assert found.sd is not None
    return found.sd / math.sqrt(found.n)


def _are_equal(differences: Sequence[float], sd: float) -> bool:
    """Return whether the differences vary by no more than the rounding of the scores they were computed from."""
    return sd <= _ROUNDING * max(map(abs, differences))


def t_within(t: float, freedom: int) -> float:
    """The probability that Student's t lies within ±t; finite sums for whole degrees of freedom (Abramowitz and
    Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    return min(1.0, 2.0 / math.pi * (angle + sine * total) if odd else sine * total)


def t_quantile(confidence: float, freedom: int) -> float:
    """Return the t within which Student's t lies with probability `confidence`."""
    low, high = 0.0, 1.0
    while t_within(high, freedom) < confidence:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, freedom) < confidence else (low, middle)
    return high


def holm(ps: Sequence[float]) -> list[float]:
    """Correct each p for the number of comparisons (Holm, 1979), in the given order."""
    adjusted, largest = [1.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
