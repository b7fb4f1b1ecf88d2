"""What a plot shows, in numbers: nothing of pixels or tags here."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

COLOURS = 8  # told apart, the colour-blind included; curves beyond have the same again, dashed
_MOST_LINEAR = 100.0  # times that a curve's end may be below its beginning on a linear axis
_OUTSIDE = 0.02  # of the values, on either side, that may stand at the edge
_FARTHEST = 1e300  # from zero that an axis goes: with room around it, it is still a float
_WORTH_CUTTING = 0.6  # of the height that they would take for themselves


class Curve(NamedTuple):
    """A line; it is broken where y is NaN."""

    label: str
    x: list[float]
    y: list[float]
    colour: int
    dashed: bool = False


class Band(NamedTuple):
    """A band around a curve, from low to high. If one x stands for many, `low_at` and `high_at` are the exact ones."""

    x: list[float]
    low: list[float]
    high: list[float]
    colour: int
    low_at: list[float] | None = None
    high_at: list[float] | None = None


class Dot(NamedTuple):
    x: float
    y: float
    title: str
    colour: int


class Mark(NamedTuple):
    """Something at these steps that no value tells: `broken` where numbers were not finite, else `event`."""

    first: float
    last: float
    title: str
    kind: str


@dataclasses.dataclass(frozen=True)
class Plot:
    """`name` is a file's stem; `caption` is for people."""

    name: str
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...] = ()
    bands: tuple[Band, ...] = ()
    dots: tuple[Dot, ...] = ()
    marks: tuple[Mark, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()  # of the legend, beside the curves: kind and what it is
    caption: str = ""
    linear: bool = False  # never on a log scale, as what falls to zero by design

    @property
    def is_empty(self) -> bool:
        return not any(math.isfinite(value) for value in self.values())

    def values(self) -> list[float]:
        found = [value for curve in self.curves for value in curve.y] + [dot.y for dot in self.dots]
        return found + [value for band in self.bands for edge in (band.low, band.high) for value in edge]

    def x_range(self) -> tuple[float, float]:
        found = [x for curve in self.curves for x in curve.x] + [dot.x for dot in self.dots]
        found += [x for mark in self.marks for x in (mark.first, mark.last)]
        low, high = min(found, default=0.0), max(found, default=1.0)
        return (low, high) if low < high else (low - 0.5, high + 0.5)


class Scale(NamedTuple):
    """From low to high; on a log scale the values are still themselves."""

    low: float
    high: float
    log: bool

    def share(self, value: float) -> float:
        """0 at the bottom, 1 at the top; beyond either where a value is outside."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(number, 1e-300)) for number in (value, low, high))
        return (value / 2 - low / 2) / (high / 2 - low / 2)  # halves: their distance has to be a float


def y_scale(values: Sequence[float], linear: bool = False) -> Scale:
    """Around all finite values, but for few that are so far out that the rest would be a flat line."""
    found = sorted(max(-_FARTHEST, min(_FARTHEST, value)) for value in values if math.isfinite(value))
    if not found:
        return Scale(0.0, 1.0, False)
    low, high = _cut(found)
    log = not linear and low > 0 and high > _MOST_LINEAR * low
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) / 10 or 0.5
        return Scale(low - pad, high + pad, False)
    if log:
        return Scale(low / 1.1, high * 1.1, True)
    pad = (high / 2 - low / 2) / 15
    return Scale(low - pad, high + pad, False)


def _cut(found: list[float]) -> tuple[float, float]:
    most = len(found) - 1
    inner_low, inner_high = found[math.floor(_OUTSIDE * most)], found[math.ceil((1 - _OUTSIDE) * most)]
    reach = (inner_high / 2 - inner_low / 2) * 2 / (1 - _WORTH_CUTTING)
    low = found[0] if inner_low - found[0] <= reach else inner_low
    high = found[-1] if found[-1] - inner_high <= reach else inner_high
    return low, high
