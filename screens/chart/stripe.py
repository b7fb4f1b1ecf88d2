"""Vertical stripes of the chart, so that a change sends few bytes to the terminal."""

from collections.abc import Callable

from textual.strip import Strip
from textual.widget import Widget

STRIPES = 8


class ChartStripe(Widget):
    """Some columns of the chart.

    Textual sends a changed line from the left edge of its widget on; with stripes a new point costs a few cells.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = "ChartStripe { width: 1fr; height: 1fr; }"

    def __init__(self, strip: Callable[[int], Strip]) -> None:
        super().__init__()
        self._strip = strip  # returns a line of the whole chart

    @property
    def left(self) -> int:
        """The first column of the chart that it covers."""
        return self.region.x - self.parent.content_region.x if isinstance(self.parent, Widget) else 0

    def render_line(self, y: int) -> Strip:
        left = self.left
        return self._strip(y).crop(left, left + self.size.width)
