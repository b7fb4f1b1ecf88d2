"""A matrix as coloured cells: one colour for negative values, another for positive ones, stronger for larger ones."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.widgets.pointer import content_offset

CELL = 2  # characters per value, so that a cell is about square
_GLYPHS = " .:-=+*#%@"  # characters for increasing values on terminals without colours
_SHADES = 16  # per colour

MatrixIndex = tuple[int, int]  # row and column


class HeatMap(ScrollView, can_focus=True):
    """A matrix with a cursor. Rows may differ in length."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"heat-map--positive", "heat-map--negative", "heat-map--label"}
    DEFAULT_CSS = """
    HeatMap {
        scrollbar-size: 1 1;
        & > .heat-map--positive { color: $series-2; }
        & > .heat-map--negative { color: $series-1; }
        & > .heat-map--label { color: $foreground-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1,0)", "Up", id="heat.up", tooltip="Move to the value above", show=False),
        Binding("down", "move(1,0)", "Down", id="heat.down", tooltip="Move to the value below", show=False),
        Binding("left", "move(0,-1)", "Left", id="heat.left", tooltip="Move to the value on the left", show=False),
        Binding("right", "move(0,1)", "Right", id="heat.right", tooltip="Move to the value on the right", show=False),
    ]

    cursor: reactive[MatrixIndex] = reactive((0, 0))

    @dataclasses.dataclass
    class Moved(Message):
        """The cursor moved to another value."""

        heat_map: "HeatMap"
        index: MatrixIndex
        value: float

        @property
        def control(self) -> "HeatMap":
            return self.heat_map

    def __init__(self, ascii: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._is_monochrome = ascii or bool(os.environ.get("NO_COLOR"))
        self.rows: Sequence[Sequence[float]] = []
        self.labels: Sequence[str] = []
        self._largest = 1.0

    def show(self, rows: Sequence[Sequence[float]], labels: Sequence[str] = ()) -> None:
        """Show a matrix; `labels` are drawn before its rows."""
        self.rows, self.labels = rows, labels
        finite = [abs(value) for row in rows for value in row if math.isfinite(value)]
        self._largest = max(finite, default=0.0) or 1.0
        self.virtual_size = Size(self._margin + CELL * max(map(len, rows), default=0), len(rows))
        row, column = self.cursor
        self.set_reactive(HeatMap.cursor, (min(row, max(0, len(rows) - 1)), column))
        self.set_reactive(HeatMap.cursor, self._clamp(*self.cursor))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        number = y + top
        if number >= len(self.rows):
            return Strip.blank(self.size.width, self.rich_style)
        segments = []
        if self._margin:
            label = self.labels[number] if number < len(self.labels) else ""
            style = self.get_component_rich_style("heat-map--label")
            segments.append(Segment(set_cell_size(label, self._margin), style))
        segments += [self._render_cell(number, column, value) for column, value in enumerate(self.rows[number])]
        return Strip(segments).crop_extend(left, left + self.size.width, self.rich_style)

    def watch_cursor(self, cursor: MatrixIndex) -> None:
        row, column = cursor
        if self.rows and self.rows[row]:
            self.scroll_to_region(Region(self._margin + CELL * column, row, CELL, 1), animate=False, force=True)
            self.post_message(self.Moved(self, cursor, self.rows[row][column]))
        self.refresh()

    def action_move(self, down: int, right: int) -> None:
        row, column = self.cursor
        self.cursor = self._clamp(row + down, column + right)

    def on_click(self, event: Click) -> None:
        """Move the cursor to the value under the mouse, or to the row whose label was clicked."""
        offset = content_offset(event, self)
        if offset is None:
            return
        row, x = offset.y + self.scroll_offset.y, offset.x + self.scroll_offset.x - self._margin
        column = x // CELL if x >= 0 else self.cursor[1]
        if row < len(self.rows) and column < len(self.rows[row]):
            self.cursor = (row, column)

    @property
    def _margin(self) -> int:
        return 1 + max(map(cell_len, self.labels)) if self.labels else 0

    def _clamp(self, row: int, column: int) -> MatrixIndex:
        row = max(0, min(row, len(self.rows) - 1))
        return (row, max(0, min(column, len(self.rows[row]) - 1))) if self.rows else (0, 0)

    def _render_cell(self, row: int, column: int, value: float) -> Segment:
        is_at_cursor = self.has_focus and (row, column) == self.cursor
        if not math.isfinite(value):
            return Segment("!!", Style(reverse=is_at_cursor, bold=True))
        share = abs(value) / self._largest
        sign = "-" if value < 0 else "+"
        if self._is_monochrome:
            glyph = _GLYPHS[round(share * (len(_GLYPHS) - 1))]
            return Segment(" " * CELL if glyph == " " else f"{sign}{glyph}", Style(reverse=is_at_cursor))
        colour = self._blend(value < 0, math.ceil(share * _SHADES))
        return Segment(
            "[]" if is_at_cursor else " " * CELL, self.rich_style + Style(bgcolor=colour.rich_color, bold=is_at_cursor)
        )

    def _blend(self, is_negative: bool, shade: int) -> Color:
        tint = self.get_component_styles("heat-map--negative" if is_negative else "heat-map--positive").color
        background = self.background_colors[1]
        return background.blend(tint, shade / _SHADES, 1.0)
