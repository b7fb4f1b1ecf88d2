"""Downsampling of a series with a value per step: minimum, maximum and mean of a few hundred bins.

A run may have a million steps. Every spike remains visible, as the minimum or maximum of its bin.
"""

import itertools
import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

SMOOTHING_WINDOW = 0.025  # share of all bins, on either side of a bin, that are averaged with it


class Bin(NamedTuple):
    """Statistics of the values of steps `first` to `last`, counted from 1.

    Without a finite value, `low`, `high` and `mean` are NaN. `low_at` and `high_at` are the steps of the extremes,
    `unreadable` counts steps whose values could not be read, and `broken` has the first and the last step whose value
    is not finite, if there are any.
    """

    first: int
    last: int
    low: float
    high: float
    mean: float
    finite: int
    low_at: int = 0
    high_at: int = 0
    unreadable: int = 0
    broken: tuple[int, int] = (0, 0)

    @property
    def middle(self) -> float:
        """The x coordinate of the bin."""
        return (self.first + self.last) / 2

    @property
    def nonfinite(self) -> int:
        """The number of values that are NaN or infinite."""
        return self.last - self.first + 1 - self.finite - self.unreadable


def split_into_bins(values: "array[float]", max_bins: int, unreadable: Sequence[range] = ()) -> list[Bin]:
    """Split values into at most `max_bins` bins of equal length; few values get a bin each.

    `unreadable` are the steps whose value is NaN because it could not be read.
    """
    count = min(max_bins, len(values))
    edges = [index * len(values) // count for index in range(count + 1)] if count else [0]
    bins = [_summarise(values, start, stop) for start, stop in itertools.pairwise(edges)]
    if unreadable:
        bins = [each._replace(unreadable=_count_overlap(each, unreadable)) for each in bins]
    return [each._replace(broken=_find_broken(values, each, unreadable)) if each.nonfinite else each for each in bins]


def _find_broken(values: "array[float]", where: Bin, unreadable: Sequence[range]) -> tuple[int, int]:
    steps = [
        step
        for step in range(where.first, where.last + 1)
        if not math.isfinite(values[step - 1]) and not any(step in gap for gap in unreadable)
    ]
    return steps[0], steps[-1]


def _count_overlap(where: Bin, steps: Sequence[range]) -> int:
    return sum(max(0, min(gap.stop, where.last + 1) - max(gap.start, where.first)) for gap in steps)


def _summarise(values: "array[float]", start: int, stop: int) -> Bin:
    whole = finite = values[start:stop]
    total = sum(finite)
    if not math.isfinite(total):  # either a value is not finite, or the sum overflowed
        finite = array("d", [value for value in finite if math.isfinite(value)])
        total = sum(finite)
    if not finite:
        return Bin(start + 1, stop, math.nan, math.nan, math.nan, 0)
    low, high = min(finite), max(finite)
    mean = total / len(finite) if math.isfinite(total) else low / 2 + high / 2
    at = start + 1 + whole.index(low), start + 1 + whole.index(high)
    return Bin(start + 1, stop, low, high, mean, len(finite), *at)


def smooth_means(bins: list[Bin]) -> list[float]:
    """Return the mean around each bin; NaN for bins without a finite value.

    At the start, where a loss falls steeply, the window is as narrow to the right as to the left.
    """
    reach, count = round(SMOOTHING_WINDOW * len(bins)), len(bins)
    weights = [0.0]
    totals = [0.0]
    for each in bins:
        weights.append(weights[-1] + each.finite)
        totals.append(totals[-1] + (each.mean * each.finite if each.finite else 0.0))
    smoothed = []
    for index, each in enumerate(bins):
        left = min(reach, index)
        start, stop = index - left, min(count, index + left + 1)
        weight = weights[stop] - weights[start]
        mean = (totals[stop] - totals[start]) / weight if weight else math.nan
        is_alone = start + 1 == stop or not math.isfinite(mean)  # then the mean of the bin itself, without rounding
        smoothed.append(each.mean if is_alone or not each.finite else mean)
    return smoothed
