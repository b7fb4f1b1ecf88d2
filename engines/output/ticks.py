"""Ticks of an axis and their labels, for the dashboard's charts and the plots of reports."""

import math

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def nice_step(least: float) -> float:
    """Return the smallest step of 1, 2, 2.5 or 5 times a power of ten that is at least `least`."""
    if not 0 < least < math.inf:
        return 1.0
    exponent = math.floor(math.log10(least))
    if exponent < -300:
        return 1e-300
    power = 10.0**exponent
    return next((step * power for step in _STEPS if step * power >= least * (1 - 1e-9)), 10 * power)


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round values between `low` and `high`, both included."""
    if most < 1 or not low < high:
        return []
    step = nice_step((high - low) / most)
    return multiples(step, low, high, most)


def multiples(step: float, low: float, high: float, most: int) -> list[float]:
    """Return the multiples of `step` between `low` and `high`."""
    first = math.ceil(low / step - 1e-9)
    ticks = [(first + index) * step for index in range(most + 1)]
    return [tick for tick in ticks if tick <= high + step * 1e-9]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return ticks of a log scale between two logarithms to base ten.

    They are powers of ten, and 2 and 5 times them if at most `most` result; without a power of ten in between, they are
    round values.
    """
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
    """Return the labels of ticks, with more digits if two of them would be equal."""
    texts = [_short(value) for value in values]
    return texts if len(set(texts)) == len(texts) else [f"{value:.10g}" for value in values]


def _short(value: float) -> str:
    """Format a number with at most seven characters: 250, 1.25k, 2.5M, 0.001."""
    size = abs(value)
    for scale, suffix in _SUFFIXES:
        if scale <= size < 1000 * scale:
            return f"{value / scale:.4g}{suffix}"
    text = f"{value:.4g}"
    return text if len(text) <= 7 and "e" not in text else f"{value:.0e}".replace("e+", "e").replace("e-0", "e-")
