"""The arithmetic of "is it more than noise": Student's t, the bootstrap and Holm's correction, in plain Python."""

import dataclasses
import math
from collections.abc import Sequence

from engines.random_stream import RandomStream

CONFIDENCE = 0.95
_RESAMPLES = 2000  # the ends of a 95 % interval are then the 50th value from either side
_BISECTIONS = 80  # more than the bits of a float


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation; the latter is None for a single value."""

    n: int
    mean: float
    sd: float | None


@dataclasses.dataclass(frozen=True)
class Difference:
    """What paired differences tell: their spread; where their mean lies with 95 % confidence, by Student's t and by
    bootstrap; how likely a mean so far from zero would be if there were no difference. None where there is one pair."""

    spread: Spread
    low: float | None = None
    high: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    p: float | None = None


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Spread(1, mean, None)
    return Spread(n, mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)))


def paired_difference(differences: Sequence[float], purpose: str = "") -> Difference:
    """Of one difference or more. `purpose` seeds the bootstrap, so that the same question gets the same answer."""
    found = spread(differences)
    if found.sd is None:
        return Difference(found)
    freedom, error = found.n - 1, found.sd / math.sqrt(found.n)
    reach = t_quantile(CONFIDENCE, freedom) * error
    bootstrap_low, bootstrap_high = bootstrap_interval(differences, purpose)
    return Difference(
        spread=found,
        low=found.mean - reach,
        high=found.mean + reach,
        bootstrap_low=bootstrap_low,
        bootstrap_high=bootstrap_high,
        p=_p(found.mean, error, freedom),
    )


def _p(mean: float, error: float, freedom: int) -> float:
    if error == 0:  # every pair differs by the same: none at all, or by a certainty
        return 1.0 if mean == 0 else 0.0
    return 1.0 - t_within(abs(mean) / error, freedom)


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
    """The t within which Student's t lies with this probability."""
    low, high = 0.0, 1.0
    while t_within(high, freedom) < confidence:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, freedom) < confidence else (low, middle)
    return high


def bootstrap_interval(values: Sequence[float], purpose: str = "") -> tuple[float, float]:
    """Where the means of samples drawn anew from the values lie, but for 2.5 % on either side (Efron, 1979). With a
    handful of values it is too narrow: it stands beside Student's, not in its place."""
    stream, n = RandomStream(0, f"bootstrap {purpose}"), len(values)
    means = sorted(math.fsum(values[stream.below(n)] for _ in range(n)) / n for _ in range(_RESAMPLES))
    cut = round((1 - CONFIDENCE) / 2 * _RESAMPLES)
    return means[cut], means[-1 - cut]


def holm(ps: Sequence[float]) -> list[float]:
    """Each p made up for how many were asked for at once (Holm, 1979), in the given order."""
    adjusted, largest = [1.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
