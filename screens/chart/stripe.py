"""The chart cut into stripes, for the sake of the line to the terminal."""

from collections.abc import Callable

from textual.strip import Strip
from textual.widget import Widget

STRIPES = 8


class Stripe(Widget):
    """Some columns of the chart. Textual sends a line that changed from its widget's left edge on: with the chart in
    stripes, a new point costs a few cells and not a line."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Stripe { width: 1fr; height: 1fr; }"

    def __init__(self, strip: Callable[[int], Strip]) -> None:
        super().__init__()
        self._strip = strip  # a line of the whole chart

    @property
    def left(self) -> int:
        """The chart's cell at which it begins."""
        return self.region.x - self.parent.content_region.x if isinstance(self.parent, Widget) else 0

    def render_line(self, y: int) -> Strip:
        left = self.left
        return self._strip(y).crop(left, left + self.size.width)
