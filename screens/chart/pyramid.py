"""Exact minimum, maximum and sum of any range of a series with millions of values.

A bucket of level k + 1 holds the minimum, maximum and sum of four buckets of level k. A range is combined from few
buckets, the largest that fit, so a spike of a single step is in every result. Values that are not finite are counted,
and left out of the sums.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

FAN = 4  # buckets of the level below per bucket
_MIN_RANGE = 2 * FAN  # shorter ranges are read value by value


class Span(NamedTuple):
    """Minimum, maximum and sum of a range of values. Without a finite value, `low` is greater than `high`."""

    low: float
    high: float
    total: float
    finite: int  # number of finite values
    nonfinite: int

    @property
    def mean(self) -> float:
        mean = self.total / self.finite
        return mean if math.isfinite(mean) else self.low / 2 + self.high / 2  # the sum has overflowed


class _Level:
    """Minimum, maximum and sum of each bucket of a level."""

    def __init__(self) -> None:
        self.low = array("d")
        self.high = array("d")
        self.total = array("d")


class Pyramid:
    """A series that grows at its end: O(1) per appended value, O(log n) per range."""

    def __init__(self) -> None:
        self.values = array("d")
        self._nonfinite = array("q")  # indices of NaNs and infinities
        self._levels: list[_Level] = []

    def __len__(self) -> int:
        return len(self.values)

    def extend(self, values: Iterable[float]) -> None:
        """Append values."""
        start = len(self.values)
        added = array("d", values)
        self.values.extend(added)
        if not math.isfinite(sum(added)):
            self._nonfinite.extend(i for i, value in enumerate(added, start) if not math.isfinite(value))
        self._fill_levels()

    def truncate(self, length: int) -> None:
        """Keep the first `length` values."""
        del self.values[length:]
        del self._nonfinite[bisect_left(self._nonfinite, length) :]
        for level in self._levels:
            length //= FAN
            for column in (level.low, level.high, level.total):
                del column[length:]

    def count_nonfinite(self, start: int, stop: int) -> int:
        """Return the number of values in a range that are NaN or infinite."""
        if not self._nonfinite:
            return 0
        return bisect_left(self._nonfinite, stop) - bisect_left(self._nonfinite, start)

    def span(self, start: int, stop: int) -> Span:
        """Return minimum, maximum, sum and counts of values[start:stop]."""
        start, stop = max(0, start), min(len(self.values), stop)
        nonfinite = self.count_nonfinite(start, stop)
        finite = stop - start - nonfinite
        low, high, total = math.inf, -math.inf, 0.0
        if finite <= 0:
            return Span(low, high, total, 0, nonfinite)
        lows = highs = totals = self.values
        has_nonfinite = nonfinite > 0  # of values; buckets hold finite numbers or neutral elements
        for level in (*self._levels, None):
            is_last = level is None or stop - start < _MIN_RANGE
            head = stop if is_last else start + -start % FAN
            tail = stop if is_last else stop - stop % FAN
            for first, last in ((start, head), (tail, stop)):
                if first < last:
                    if has_nonfinite:
                        values = [value for value in self.values[first:last] if math.isfinite(value)] or [math.nan]
                        part_low, part_high, part_total = min(values), max(values), sum(values)
                    else:
                        part_low, part_high = min(lows[first:last]), max(highs[first:last])
                        part_total = sum(totals[first:last])
                    if part_low <= part_high:  # False if no value of the part is finite
                        low, high, total = min(low, part_low), max(high, part_high), total + part_total
            if is_last or level is None:
                break
            start, stop = head // FAN, tail // FAN
            lows, highs, totals, has_nonfinite = level.low, level.high, level.total, False
        return Span(low, high, total, finite, nonfinite)

    def _fill_levels(self) -> None:
        """Add all buckets that have become complete."""
        lows, highs, totals = self._unbucketed_values()
        for number in range(64):
            if not lows:
                return
            if number == len(self._levels):
                self._levels.append(_Level())
            level = self._levels[number]
            level.low.extend(map(min, *_by_position(lows)))
            level.high.extend(map(max, *_by_position(highs)))
            level.total.extend([a + b + c + d for a, b, c, d in zip(*_by_position(totals), strict=True)])
            part = self._unbucketed(number + 1, len(level.low))
            lows, highs, totals = level.low[part], level.high[part], level.total[part]

    def _unbucketed_values(self) -> tuple["array[float]", "array[float]", "array[float]"]:
        """Return the values of new buckets for minimum, maximum and sum; those not finite become neutral elements."""
        part = self._unbucketed(0, len(self.values))
        values = self.values[part]
        if not self.count_nonfinite(part.start, part.stop):
            return values, values, values
        lows, highs, totals = (
            array("d", [value if math.isfinite(value) else neutral for value in values])
            for neutral in (math.inf, -math.inf, 0.0)
        )
        return lows, highs, totals

    def _unbucketed(self, number: int, available: int) -> slice:
        """Return which part of the level below is not yet in level `number`, in complete buckets."""
        start = FAN * len(self._levels[number].low) if number < len(self._levels) else 0
        return slice(start, available - available % FAN)


def _by_position(values: "array[float]") -> list["array[float]"]:
    """Return the first, second, third and fourth values of all buckets."""
    return [values[position::FAN] for position in range(FAN)]
