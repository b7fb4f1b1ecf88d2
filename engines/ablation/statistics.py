"""Student's t-test on paired differences and Holm's correction, in plain Python."""

import dataclasses
import math
from collections.abc import Sequence

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE
_RELATIVE_ROUNDING = 1e-9  # scores are doubles, and real variation between seeds is far larger
_BISECTIONS = 80  # more than the bits of a float


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n − 1) of `n` values; `sd` is None for a single value."""

    n: int
    mean: float
    sd: float | None


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The mean of paired differences, with the result of Student's t-test.

    `p` is the probability of a mean at least as far from zero if there were no difference. `p_corrected` and the
    confidence interval from `low` to `high` are adjusted for the number of comparisons: the interval excludes zero
    exactly if `p_corrected` is below 5 %. All four are None for a single pair, and if every pair differs by the same
    amount: such pairs show no variation between seeds that a test could use.
    """

    spread: Spread
    p: float | None = None
    p_corrected: float | None = None
    low: float | None = None
    high: float | None = None


def compute_spread(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation of one or more values."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Spread(1, mean, None)
    return Spread(n, mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)))


def paired_t_test(differences: Sequence[float]) -> PairedDifference:
    """Test whether the mean of one or more paired differences is zero. Each pair is two runs with the same seed."""
    spread = compute_spread(differences)
    if spread.sd is None or _are_equal(differences, spread.sd):
        are_zero = spread.sd is not None and not any(differences)
        return PairedDifference(spread, p=1.0 if are_zero else None)
    return PairedDifference(
        spread, p=1.0 - central_probability(abs(spread.mean) / _standard_error(spread), spread.n - 1)
    )


def adjust_for_comparisons(differences: Sequence[PairedDifference], without_p: int = 0) -> list[PairedDifference]:
    """Adjust p-values and confidence intervals of a family of comparisons with Holm's method (1979), in order.

    `without_p` counts comparisons of the same family that have no p-value, because their runs are not finished or a
    selection by the same seeds dropped them. They count as p = 1, which can only increase the other p-values, so the
    probability of any false verdict stays below 5 %.
    """
    p_values = [difference.p for difference in differences if difference.p is not None]
    adjusted = iter(holm_adjust([*p_values, *[1.0] * without_p]))
    return [
        difference if difference.p is None else _adjust(difference, difference.p, next(adjusted))
        for difference in differences
    ]


def add_confidence_interval(difference: PairedDifference, error_rate: float) -> PairedDifference:
    """Add the interval that misses the true mean with probability `error_rate`; none if the test does not apply."""
    spread = difference.spread
    if difference.p is None or not spread.sd:
        return difference
    half_width = two_sided_quantile(1.0 - error_rate, spread.n - 1) * _standard_error(spread)
    return dataclasses.replace(difference, low=spread.mean - half_width, high=spread.mean + half_width)


def _adjust(difference: PairedDifference, p: float, p_corrected: float) -> PairedDifference:
    # p_corrected is below ALPHA exactly if p is below this rate, so interval and verdict always agree.
    error_rate = ALPHA * p / p_corrected if p else ALPHA
    return dataclasses.replace(add_confidence_interval(difference, error_rate), p_corrected=p_corrected)


def _standard_error(spread: Spread) -> float:
    assert spread.sd is not None
    return spread.sd / math.sqrt(spread.n)


def _are_equal(differences: Sequence[float], sd: float) -> bool:
    """Return whether the differences vary by no more than the rounding of the scores they were computed from."""
    return sd <= _RELATIVE_ROUNDING * max(map(abs, differences))


def central_probability(t: float, degrees_of_freedom: int) -> float:
    """Return the probability that Student's t lies within ±t.

    Exact finite sums for integer degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
    """
    angle = math.atan2(t, math.sqrt(degrees_of_freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees_of_freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, degrees_of_freedom, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    return min(1.0, 2.0 / math.pi * (angle + sine * total) if odd else sine * total)


def two_sided_quantile(confidence: float, degrees_of_freedom: int) -> float:
    """Return the t for which Student's t lies within ±t with probability `confidence`."""
    low, high = 0.0, 1.0
    while central_probability(high, degrees_of_freedom) < confidence:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if central_probability(middle, degrees_of_freedom) < confidence else (low, middle)
    return high


def holm_adjust(p_values: Sequence[float]) -> list[float]:
    """Return Holm-adjusted p-values (Holm, 1979), in the given order."""
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
