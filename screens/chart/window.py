"""The visible part of the x axis: all of it, a part that follows the newest value, or a fixed one."""

import math
from typing import NamedTuple

from screens.chart.scales import round_up_per_pixel

_CHUNKS = 8  # a following window moves by this fraction of its width, so that most cells stay unchanged between moves
_MIN_POINTS = 4  # minimum number of points in view


class View(NamedTuple):
    """The pixel columns (dots of braille cells) of a drawing, on the x axis."""

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
        """Return the left edge of each column, and the right edge of the last one."""
        return [self.start + place * self.per_pixel for place in range(self.pixels + 1)]

    def pixel(self, x: float) -> int:
        return math.floor((x - self.start) / self.per_pixel)

    def x_of(self, pixel: float) -> float:
        return self.start + pixel * self.per_pixel


class XWindow:
    """The part of the x axis that the user has chosen; `view` converts it to pixel columns."""

    def __init__(self) -> None:
        self.is_whole = True
        self.is_following = True
        self._start = 0.0
        self._span = 1.0

    def view(self, low: float, high: float, pixels: int) -> View:
        """Return the pixel columns for data from low to high."""
        pixels = max(1, pixels)
        if self.is_whole and self.is_following:
            per_pixel = round_up_per_pixel((high - low) / max(1, pixels - 1))
            return View(math.floor(low / per_pixel) * per_pixel, per_pixel, pixels)
        per_pixel = round_up_per_pixel(self._span / pixels)
        if not self.is_following:
            return View(self._start, per_pixel, pixels)
        chunk = max(1, pixels // _CHUNKS) * per_pixel
        start = (math.floor(high / chunk) + 1) * chunk - pixels * per_pixel
        return View(max(start, math.floor(low / per_pixel) * per_pixel), per_pixel, pixels)

    @property
    def is_default(self) -> bool:
        """True if all data are in view, and new ones will be."""
        return self.is_whole and self.is_following

    def reset(self) -> None:
        self.is_whole = self.is_following = True

    def toggle_follow(self, view: View) -> None:
        """Fix the view, or follow the newest value again."""
        self.is_following = not self.is_following
        if not self.is_following:
            self._fix(view)

    def zoom(self, view: View, factor: float, anchor: float, low: float, high: float, points: int) -> bool:
        """Show `factor` times as much around the anchor. Return False if that is not possible."""
        per_pixel = round_up_per_pixel(view.per_pixel * factor)
        span = per_pixel * view.pixels
        if factor < 1 and (high <= low or span < _MIN_POINTS * (high - low) / max(1, points - 1)):
            return False
        if factor > 1 and self.is_whole and self.is_following:
            return False
        if factor > 1 and span >= high - low:
            self.reset()
            return True
        start = anchor - (anchor - view.start) * per_pixel / view.per_pixel
        self.is_whole = False
        self.is_following = self.is_following and anchor > view.stop - view.span / _CHUNKS
        self._fix(View(_align(start, low, high, per_pixel, span), per_pixel, view.pixels))
        return True

    def pan(self, view: View, by: float, low: float, high: float) -> bool:
        """Move by this share of the view. Return False at either end."""
        target = view.start + round(by * view.pixels) * view.per_pixel
        start = _align(target, low, high, view.per_pixel, view.span)
        if start == view.start or (by > 0 and start < view.start):
            return False
        self.is_whole = self.is_following = False
        self._fix(view._replace(start=start))
        return True

    def show(self, start: float, stop: float) -> None:
        """Show another part, of the same or another axis; a window that follows adopts only its width."""
        self._start, self._span = start, stop - start if stop > start else 1.0

    def reveal(self, view: View, x: float, low: float, high: float) -> None:
        """Move as little as possible so that x is in view."""
        if not view.start <= x < view.stop:
            by = (x - view.start) / view.span if x < view.start else (x - view.stop) / view.span + 1 / view.pixels
            self.pan(view, by + math.copysign(1 / _CHUNKS, by), low, high)

    def _fix(self, view: View) -> None:
        self._start, self._span = view.start, view.span


def _align(start: float, low: float, high: float, per_pixel: float, span: float) -> float:
    """Return the start of a window within the data, on a whole pixel."""
    last = (math.floor(high / per_pixel) + 1) * per_pixel - span
    return math.floor(max(low, min(start, last)) / per_pixel) * per_pixel
