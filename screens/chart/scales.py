"""Scales and ticks: round bounds that seldom change, round ticks, and their labels."""

import math
from typing import NamedTuple

from engines.output.ticks import labels, log_ticks, multiples, nice_step, nice_ticks

__all__ = [
    "YScale",
    "compute_time_ticks",
    "fit_y_scale",
    "format_time",
    "format_times",
    "format_value",
    "labels",
    "nice_step",
    "nice_ticks",
    "round_up_per_pixel",
]

_CLOCK = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)  # seconds
# times a power of four: exact in binary, closed under doubling
_PIXEL_STEPS = (4, 5, 6, 7, 8, 10, 12, 14, 16)
_ROOM_TO_STAY = 0.6  # bounds stay while the data fill this share of them
_MOST = 4e307  # larger values are clamped: the distance of two bounds must be a float
_LEAST_SHARE = 1e-12  # of its magnitude that a range must have to count as more than a point


def round_up_per_pixel(least: float) -> float:
    """Return the next round width of a pixel, at most a quarter wider, so that the x axis grows in few steps."""
    if not 0 < least < math.inf:
        return 1.0
    power = 4.0 ** (math.floor(math.log(least / 4, 4)))
    for _ in range(3):  # the logarithm may be off by one
        for step in _PIXEL_STEPS:
            if step * power >= least * (1 - 1e-9):
                return step * power
        power *= 4
    return least


class YScale(NamedTuple):
    """The values at the bottom and the top; on a log scale their base-10 logarithms."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float, dots: int) -> int:
        """Return the pixel of a value, 0 at the top. Values outside are clamped to the edge."""
        if self.log:
            value = math.log10(value) if value > 0 else self.low
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # halves: the range may be all floats
        return round((1 - min(1.0, max(0.0, share))) * (dots - 1))

    def has(self, value: float) -> bool:
        if self.log:
            return value > 0 and self.low <= math.log10(value) <= self.high
        return self.low <= value <= self.high

    def ticks(self, most: int) -> list[float]:
        if not self.log:
            return nice_ticks(self.low, self.high, most)
        return log_ticks(self.low, self.high, most)


def fit_y_scale(low: float, high: float, log: bool, before: YScale | None = None) -> YScale:
    """Return round bounds around low and high. The ones before stay while they fit: a curve is not redrawn for
    every new extreme."""
    if log:
        low, high = math.log10(low), math.log10(high)
    low, high = (min(max(value, -_MOST), _MOST) for value in (low, high))
    if high - low <= _LEAST_SHARE * max(abs(low), abs(high)):
        pad = abs(low) / 10 if low and not log else 0.5
        low, high = low - pad, high + pad
    fits = before is not None and before.log == log and before.low <= low and high <= before.high
    if before is not None and fits and high - low >= _ROOM_TO_STAY * (before.high - before.low):
        return before
    step = nice_step((high - low) / 10)
    return YScale(math.floor(low / step) * step, math.ceil(high / step) * step, log)


def compute_time_ticks(low: float, high: float, most: int) -> list[float]:
    """Return ticks at whole seconds, minutes or hours."""
    if most < 1 or not low < high:
        return []
    least = (high - low) / most
    if least <= 0.5:
        return nice_ticks(low, high, most)
    step = next((step for step in _CLOCK if step >= least), 86_400 * nice_step(least / 86_400))
    return multiples(step, low, high, most)


def format_times(values: list[float]) -> list[str]:
    return [format_time(value) for value in values]


def format_time(seconds: float) -> str:
    """Format seconds: 0.5s, 45s, 2:30, 1:02:03."""
    if abs(seconds) < 60:
        return f"{seconds:.3g}s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def format_value(value: float) -> str:
    """Format a value for the legend, with four decimals if they are significant."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3e}"
