"""The contents of a plot in numbers, independent of pixels and SVG."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

_MAX_LINEAR_RATIO = 100.0  # of the largest to the smallest value on a linear axis
_OUTLIERS = 0.02  # share of the values, at either end, that may lie outside the axis
_MAX_VALUE = 1e300  # at the end of an axis: with a margin around it, it is still a float
_OUTLIER_HEIGHT = 0.6  # share of the height above which outliers are cut off


class Curve(NamedTuple):
    """A line, with gaps where y is NaN."""

    label: str
    x: list[float]
    y: list[float]
    colour: int
    dashed: bool = False


class Band(NamedTuple):
    """A shaded band from low to high. If an x stands for many steps, `low_at` and `high_at` are the exact steps."""

    x: list[float]
    low: list[float]
    high: list[float]
    colour: int
    low_at: list[float] | None = None
    high_at: list[float] | None = None


class Dot(NamedTuple):
    """A single point; `title` is its tooltip."""

    x: float
    y: float
    title: str
    colour: int


class Mark(NamedTuple):
    """A range of steps to highlight: `broken` if values are not finite there, or an `event`. `title` is its tooltip."""

    first: float
    last: float
    title: str
    kind: str


@dataclasses.dataclass(frozen=True)
class PlotData:
    """Everything that a plot shows. `name` is the stem of its file; `keys` are further entries of the legend."""

    name: str
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...] = ()
    bands: tuple[Band, ...] = ()
    dots: tuple[Dot, ...] = ()
    marks: tuple[Mark, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()  # kind and label
    caption: str = ""
    linear: bool = False  # never on a log scale, for values that fall to zero by design

    @property
    def is_empty(self) -> bool:
        """Return whether no value is finite."""
        return not any(math.isfinite(value) for value in self.values())

    def values(self) -> list[float]:
        """Return all y values."""
        found = [value for curve in self.curves for value in curve.y] + [dot.y for dot in self.dots]
        return found + [value for band in self.bands for edge in (band.low, band.high) for value in edge]

    def x_range(self) -> tuple[float, float]:
        """Return the range of the x axis; it is never empty."""
        found = [x for curve in self.curves for x in curve.x] + [dot.x for dot in self.dots]
        found += [x for mark in self.marks for x in (mark.first, mark.last)]
        low, high = min(found, default=0.0), max(found, default=1.0)
        return (low, high) if low < high else (low - 0.5, high + 0.5)


class Scale(NamedTuple):
    """The range of an axis, linear or logarithmic; `low` and `high` are values, not logarithms."""

    low: float
    high: float
    log: bool

    def position(self, value: float) -> float:
        """Return the position of a value: 0 at `low`, 1 at `high`, beyond them if it is outside."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(number, 1e-300)) for number in (value, low, high))
        return (value / 2 - low / 2) / (high / 2 - low / 2)  # halved, so that the difference does not overflow


def choose_y_scale(values: Sequence[float], linear: bool = False) -> Scale:
    """Return a scale that fits all finite values, except few outliers that would make the rest a flat line."""
    finite = sorted(max(-_MAX_VALUE, min(_MAX_VALUE, value)) for value in values if math.isfinite(value))
    if not finite:
        return Scale(0.0, 1.0, False)
    low, high = _cut_outliers(finite)
    log = not linear and low > 0 and high > _MAX_LINEAR_RATIO * low
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) / 10 or 0.5
        return Scale(low - pad, high + pad, False)
    if log:
        return Scale(low / 1.1, high * 1.1, True)
    pad = (high / 2 - low / 2) / 15
    return Scale(low - pad, high + pad, False)


def _cut_outliers(values: list[float]) -> tuple[float, float]:
    """Return the range of sorted values, without outliers if they would take most of the height."""
    last = len(values) - 1
    inner_low, inner_high = values[math.floor(_OUTLIERS * last)], values[math.ceil((1 - _OUTLIERS) * last)]
    reach = (inner_high / 2 - inner_low / 2) * 2 / (1 - _OUTLIER_HEIGHT)
    low = values[0] if inner_low - values[0] <= reach else inner_low
    high = values[-1] if values[-1] - inner_high <= reach else inner_high
    return low, high
