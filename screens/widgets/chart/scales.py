"""Where values stand: round bounds that seldom move, round ticks, and numbers as people write them."""

import math
from typing import NamedTuple

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_CLOCK = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)  # seconds
_PIXEL_STEPS = (4, 5, 6, 7, 8, 10, 12, 14, 16)  # times a power of four: exact in binary, and closed under doubling
_ROOM_TO_STAY = 0.6  # bounds stay while what is shown fills this much of them
_MOST = 4e307  # what is greater stands at the edge: the distance of two bounds must be a float
_LEAST_SHARE = 1e-12  # of its size that a range must have to be told from a point
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def round_up_per_pixel(least: float) -> float:
    """The next round width of a pixel, at most a quarter wider: the x axis grows in these, and stands between."""
    if not 0 < least < math.inf:
        return 1.0
    power = 4.0 ** (math.floor(math.log(least / 4, 4)))
    for _ in range(3):  # the logarithm may be off by one
        for step in _PIXEL_STEPS:
            if step * power >= least * (1 - 1e-9):
                return step * power
        power *= 4
    return least


def nice_step(least: float) -> float:
    """The least of 1, 2, 2.5 and 5 times a power of ten that is no smaller."""
    if not 0 < least < math.inf:
        return 1.0
    exponent = math.floor(math.log10(least))
    if exponent < -300:
        return 1e-300
    power = 10.0**exponent
    return next((step * power for step in _STEPS if step * power >= least * (1 - 1e-9)), 10 * power)


class YScale(NamedTuple):
    """The values at the bottom and the top; on a log scale their logarithms to base ten."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float, dots: int) -> int:
        """The dot of a value, 0 at the top. Values outside stand at the edge."""
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
        return _log_ticks(self.low, self.high, most)


def y_scale(low: float, high: float, log: bool, before: YScale | None = None) -> YScale:
    """Round bounds around low and high. Those from before stay while they still suit: a curve is not redrawn for
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


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Round values from low to high, both included where they are round; at most so many."""
    if most < 1 or not low < high:
        return []
    step = nice_step((high - low) / most)
    return _multiples(step, low, high, most)


def clock_ticks(low: float, high: float, most: int) -> list[float]:
    """Ticks in seconds that are round as a clock has it."""
    if most < 1 or not low < high:
        return []
    least = (high - low) / most
    if least <= 0.5:
        return nice_ticks(low, high, most)
    step = next((step for step in _CLOCK if step >= least), 86_400 * nice_step(least / 86_400))
    return _multiples(step, low, high, most)


def _multiples(step: float, low: float, high: float, most: int) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    ticks = [(first + place) * step for place in range(most + 1)]
    return [tick for tick in ticks if tick <= high + step * 1e-9]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, with 2 and 5 times them where there is room; round values where no power of ten lies between."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1, 2, 5), (1,)):
        ticks = [factor * 10.0**power for power in decades if abs(power) < 300 for factor in factors]
        inside = [tick for tick in ticks if low - 1e-9 <= math.log10(tick) <= high + 1e-9]
        if 2 <= len(inside) <= most:
            return inside
    if len(inside) < 2:
        return nice_ticks(10.0**low, 10.0 ** min(high, 300), most)
    return inside[:: -(-len(inside) // max(1, most))]


def labels(values: list[float]) -> list[str]:
    """Ticks' labels, with more digits where they would read alike."""
    texts = [_short(value) for value in values]
    return texts if len(set(texts)) == len(texts) else [f"{value:.10g}" for value in values]


def _short(value: float) -> str:
    """250, 1.25k, 2.5M, 0.001; never more than seven characters."""
    size = abs(value)
    for scale, suffix in _SUFFIXES:
        if scale <= size < 1000 * scale:
            return f"{value / scale:.4g}{suffix}"
    text = f"{value:.4g}"
    return text if len(text) <= 7 and "e" not in text else f"{value:.0e}".replace("e+", "e").replace("e-0", "e-")


def clocks(values: list[float]) -> list[str]:
    return [clock(value) for value in values]


def clock(seconds: float) -> str:
    """Seconds as a clock has them: 0.5s, 45s, 2:30, 1:02:03."""
    if abs(seconds) < 60:
        return f"{seconds:.3g}s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def exact(value: float) -> str:
    """A value to be read off, with four decimals where they say something."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3e}"
