"""Convert a drawing to lines of styled text, each cached until one of its cells changes."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from screens.chart.canvas import StyleKey
from screens.chart.colours import style_of
from screens.chart.rendering import ChartDrawing


class StripPainter:
    """The lines of the current drawing, in the styles of a widget."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._drawing: ChartDrawing | None = None
        self._styles: dict[StyleKey, Style] = {}
        self._strips: dict[int, Strip] = {}

    def show(self, drawing: ChartDrawing, changed_lines: set[int] | None) -> None:
        """Set the drawing; `changed_lines` differ from the drawing before, None means all."""
        self._drawing = drawing
        if changed_lines is None:
            self._strips.clear()
        for line in changed_lines or ():
            self._strips.pop(line, None)

    def forget_styles(self) -> None:
        """Compute styles and lines again: the theme has changed."""
        self._styles.clear()
        self._strips.clear()

    def strip(self, y: int) -> Strip:
        """Return a line of the drawing, as wide as the widget."""
        strip = self._strips.get(y)
        if strip is None:
            width, base = self._widget.size.width, self._widget.visual_style.rich_style
            if self._drawing is None or y >= self._drawing.canvas.height:
                return Strip.blank(width, base)
            canvas = self._drawing.canvas
            segments = [Segment(text, self._style(key)) for text, key in canvas.runs(y)]
            strip = self._strips[y] = Strip(segments, canvas.width).adjust_cell_length(width, base)
        return strip

    def _style(self, key: StyleKey) -> Style:
        style = self._styles.get(key)
        if style is None:
            style = self._styles[key] = style_of(key, self._widget)
        return style
