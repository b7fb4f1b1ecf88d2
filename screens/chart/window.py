"""Which part of the x axis is in view: all of it, a part that follows the newest, or one that is held."""

import math
from typing import NamedTuple

from screens.chart.scales import round_up_per_pixel

_CHUNKS = 8  # a window that follows moves by this part of itself at once, so between moves old cells stay put
_FEWEST = 4  # points that a window shows at least


class View(NamedTuple):
    """The columns of dots of a drawing, on the x axis."""

    start: float
    per_pixel: float
    pixels: int

    @property
    def span(self) -> float:
        return self.per_pixel * self.pixels

    @property
    def stop(self) -> float:
        return self.start + self.span

    def edges(self) -> list[float]:
        """Where each column begins, and where the last one ends."""
        return [self.start + place * self.per_pixel for place in range(self.pixels + 1)]

    def pixel(self, x: float) -> int:
        return math.floor((x - self.start) / self.per_pixel)

    def x_of(self, pixel: float) -> float:
        return self.start + pixel * self.per_pixel


class Window:
    """What the person who looks has chosen; `view` makes columns of it."""

    def __init__(self) -> None:
        self.whole = True
        self.follow = True
        self._start = 0.0
        self._span = 1.0

    def view(self, low: float, high: float, pixels: int) -> View:
        """The columns for data from low to high."""
        pixels = max(1, pixels)
        if self.whole and self.follow:
            per_pixel = round_up_per_pixel((high - low) / max(1, pixels - 1))
            return View(math.floor(low / per_pixel) * per_pixel, per_pixel, pixels)
        per_pixel = round_up_per_pixel(self._span / pixels)
        if not self.follow:
            return View(self._start, per_pixel, pixels)
        chunk = max(1, pixels // _CHUNKS) * per_pixel
        start = (math.floor(high / chunk) + 1) * chunk - pixels * per_pixel
        return View(max(start, math.floor(low / per_pixel) * per_pixel), per_pixel, pixels)

    def reset(self) -> None:
        self.whole = self.follow = True

    def toggle_follow(self, view: View) -> None:
        """Hold what is in view, or let it go on."""
        self.follow = not self.follow
        if not self.follow:
            self._keep(view)

    def zoom(self, view: View, factor: float, anchor: float, low: float, high: float, points: int) -> bool:
        """Show `factor` times as much around the anchor. False where that is not possible."""
        per_pixel = round_up_per_pixel(view.per_pixel * factor)
        span = per_pixel * view.pixels
        if factor < 1 and (high <= low or span < _FEWEST * (high - low) / max(1, points - 1)):
            return False
        if factor > 1 and self.whole and self.follow:
            return False
        if factor > 1 and span >= high - low:
            self.reset()
            return True
        start = anchor - (anchor - view.start) * per_pixel / view.per_pixel
        self.whole = False
        self.follow = self.follow and anchor > view.stop - view.span / _CHUNKS
        self._keep(View(_aligned(start, low, high, per_pixel, span), per_pixel, view.pixels))
        return True

    def pan(self, view: View, by: float, low: float, high: float) -> bool:
        """Move by this share of what is in view. False at either end."""
        wanted = view.start + round(by * view.pixels) * view.per_pixel
        start = _aligned(wanted, low, high, view.per_pixel, view.span)
        if start == view.start or (by > 0 and start < view.start):
            return False
        self.whole = self.follow = False
        self._keep(view._replace(start=start))
        return True

    def show(self, start: float, stop: float) -> None:
        """Another part, of the same or another axis; where it follows, it is as wide."""
        self._start, self._span = start, stop - start if stop > start else 1.0

    def reveal(self, view: View, x: float, low: float, high: float) -> None:
        """Move just so far that x is in view."""
        if not view.start <= x < view.stop:
            by = (x - view.start) / view.span if x < view.start else (x - view.stop) / view.span + 1 / view.pixels
            self.pan(view, by + math.copysign(1 / _CHUNKS, by), low, high)

    def _keep(self, view: View) -> None:
        self._start, self._span = view.start, view.span


def _aligned(start: float, low: float, high: float, per_pixel: float, span: float) -> float:
    """The start of a window within the data, on a whole pixel."""
    last = (math.floor(high / per_pixel) + 1) * per_pixel - span
    return math.floor(max(low, min(start, last)) / per_pixel) * per_pixel
