"""A run's column, however long, as a few hundred parts: least, most and mean of each, so that no spike is lost."""

import itertools
import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

SMOOTH_SHARE = 0.025  # of all columns, on either side of one, that are averaged into it


class Part(NamedTuple):
    """Values first..last, counted from one as steps are. Without a finite value all three figures are NaN."""

    first: int
    last: int
    low: float
    high: float
    mean: float
    finite: int
    low_at: int = 0  # the steps of the least and of the greatest value
    high_at: int = 0
    unreadable: int = 0  # steps whose values could not be read
    broken: tuple[int, int] = (0, 0)  # the first and the last step whose value is not finite, if there are any

    @property
    def middle(self) -> float:
        return (self.first + self.last) / 2

    @property
    def nonfinite(self) -> int:
        return self.last - self.first + 1 - self.finite - self.unreadable


def parts(values: "array[float]", most: int, unreadable: Sequence[range] = ()) -> list[Part]:
    """Split values into at most `most` parts of equal length, or one part per value if there are few.

    `unreadable` are steps whose value is NaN because it could not be read.
    """
    count = min(most, len(values))
    edges = [index * len(values) // count for index in range(count + 1)] if count else [0]
    found = [_part(values, start, stop) for start, stop in itertools.pairwise(edges)]
    if unreadable:
        found = [part._replace(unreadable=_overlap(part, unreadable)) for part in found]
    return [part._replace(broken=_broken(values, part, unreadable)) if part.nonfinite else part for part in found]


def _broken(values: "array[float]", part: Part, unreadable: Sequence[range]) -> tuple[int, int]:
    steps = [
        step
        for step in range(part.first, part.last + 1)
        if not math.isfinite(values[step - 1]) and not any(step in gap for gap in unreadable)
    ]
    return steps[0], steps[-1]


def _overlap(part: Part, steps: Sequence[range]) -> int:
    return sum(max(0, min(gap.stop, part.last + 1) - max(gap.start, part.first)) for gap in steps)


def _part(values: "array[float]", start: int, stop: int) -> Part:
    whole = found = values[start:stop]
    total = sum(found)
    if not math.isfinite(total):  # a value is not, or the sum became too large
        found = array("d", [value for value in found if math.isfinite(value)])
        total = sum(found)
    if not found:
        return Part(start + 1, stop, math.nan, math.nan, math.nan, 0)
    low, high = min(found), max(found)
    mean = total / len(found) if math.isfinite(total) else low / 2 + high / 2
    at = start + 1 + whole.index(low), start + 1 + whole.index(high)
    return Part(start + 1, stop, low, high, mean, len(found), *at)


def smoothed(columns: list[Part]) -> list[float]:
    """The mean around each column; NaN where the column itself has nothing. At the beginning, where a loss falls
    steeply, the window is as narrow to the right as to the left."""
    reach, count = round(SMOOTH_SHARE * len(columns)), len(columns)
    weights = [0.0]
    totals = [0.0]
    for column in columns:
        weights.append(weights[-1] + column.finite)
        totals.append(totals[-1] + (column.mean * column.finite if column.finite else 0.0))
    found = []
    for place, column in enumerate(columns):
        left = min(reach, place)
        start, stop = place - left, min(count, place + left + 1)
        weight = weights[stop] - weights[start]
        mean = (totals[stop] - totals[start]) / weight if weight else math.nan
        exact = start + 1 == stop or not math.isfinite(mean)  # no rounding where nothing is averaged
        found.append(column.mean if exact or not column.finite else mean)
    return found
