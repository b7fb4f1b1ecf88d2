"""A million values and more, asked for the least, the most and the sum of any part of them, exactly.

Level k + 1 keeps low, high and sum of four neighbours of level k. A part is put together from few buckets, the largest
that fit, so a spike of one step is in every answer. What is not finite stands apart: it is counted, never averaged.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

FAN = 4  # values in a bucket of the level below
_PLAIN = 2 * FAN  # so few values are read one by one


class Span(NamedTuple):
    """Summary of a range of values. Without a finite value, low is above high."""

    low: float
    high: float
    total: float
    finite: int  # how many are
    nonfinite: int

    @property
    def mean(self) -> float:
        mean = self.total / self.finite
        return mean if math.isfinite(mean) else self.low / 2 + self.high / 2  # the sum was too large


class _Level:
    def __init__(self) -> None:
        self.low = array("d")
        self.high = array("d")
        self.total = array("d")


class Pyramid:
    """Values in the order they came. Appending costs a constant a value, a question the logarithm of its length."""

    def __init__(self) -> None:
        self.values = array("d")
        self._nonfinite = array("q")  # places of NaNs and infinities
        self._levels: list[_Level] = []

    def __len__(self) -> int:
        return len(self.values)

    def extend(self, values: Iterable[float]) -> None:
        start = len(self.values)
        fresh = array("d", values)
        self.values.extend(fresh)
        if not math.isfinite(sum(fresh)):
            self._nonfinite.extend(i for i, value in enumerate(fresh, start) if not math.isfinite(value))
        self._grow()

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
        """Low, high, sum and counts of values[start:stop]."""
        start, stop = max(0, start), min(len(self.values), stop)
        nonfinite = self.count_nonfinite(start, stop)
        finite = stop - start - nonfinite
        low, high, total = math.inf, -math.inf, 0.0
        if finite <= 0:
            return Span(low, high, total, 0, nonfinite)
        lows = highs = totals = self.values
        of_values = nonfinite > 0  # buckets hold no NaN, the values themselves may
        for level in (*self._levels, None):
            at_once = level is None or stop - start < _PLAIN
            head = stop if at_once else start + -start % FAN
            tail = stop if at_once else stop - stop % FAN
            for first, last in ((start, head), (tail, stop)):
                if first < last:
                    if of_values:
                        kept = [value for value in self.values[first:last] if math.isfinite(value)] or [math.nan]
                        part_low, part_high, part_total = min(kept), max(kept), sum(kept)
                    else:
                        part_low, part_high = min(lows[first:last]), max(highs[first:last])
                        part_total = sum(totals[first:last])
                    if part_low <= part_high:  # false where nothing is finite
                        low, high, total = min(low, part_low), max(high, part_high), total + part_total
            if at_once or level is None:
                break
            start, stop = head // FAN, tail // FAN
            lows, highs, totals, of_values = level.low, level.high, level.total, False
        return Span(low, high, total, finite, nonfinite)

    def _grow(self) -> None:
        """Make every bucket that has become complete."""
        lows, highs, totals = self._fresh_values()
        for place in range(64):
            if not lows:
                return
            if place == len(self._levels):
                self._levels.append(_Level())
            level = self._levels[place]
            level.low.extend(map(min, *_quarters(lows)))
            level.high.extend(map(max, *_quarters(highs)))
            level.total.extend([a + b + c + d for a, b, c, d in zip(*_quarters(totals), strict=True)])
            part = self._incomplete(place + 1, len(level.low))
            lows, highs, totals = level.low[part], level.high[part], level.total[part]

    def _fresh_values(self) -> tuple["array[float]", "array[float]", "array[float]"]:
        """Values of buckets not yet made, as lows, highs and sums; what is not finite changes none of them."""
        part = self._incomplete(0, len(self.values))
        values = self.values[part]
        if not self.count_nonfinite(part.start, part.stop):
            return values, values, values
        lows, highs, totals = (
            array("d", [value if math.isfinite(value) else neutral for value in values])
            for neutral in (math.inf, -math.inf, 0.0)
        )
        return lows, highs, totals

    def _incomplete(self, place: int, available: int) -> slice:
        """Return the slice of the level below that is not yet in this level, in whole buckets."""
        made = FAN * len(self._levels[place].low) if place < len(self._levels) else 0
        return slice(made, available - available % FAN)


def _quarters(values: "array[float]") -> list["array[float]"]:
    return [values[place::FAN] for place in range(FAN)]
