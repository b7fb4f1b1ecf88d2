"""Shows a matrix as coloured cells: negative numbers in one colour, positive in another, the larger the stronger."""

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

CELL = 2  # characters of a number: about as wide as high
_INK = " .:-=+*#%@"  # the larger the darker, where there are no colours
_SHADES = 16  # of each colour

Place = tuple[int, int]


class HeatMap(ScrollView, can_focus=True):
    """A matrix of numbers with a cursor. Rows may differ in length."""

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
        Binding("up", "move(-1,0)", "Up", id="heat.up", tooltip="The number above", show=False),
        Binding("down", "move(1,0)", "Down", id="heat.down", tooltip="The number below", show=False),
        Binding("left", "move(0,-1)", "Left", id="heat.left", tooltip="The number at the left", show=False),
        Binding("right", "move(0,1)", "Right", id="heat.right", tooltip="The number at the right", show=False),
    ]

    cursor: reactive[Place] = reactive((0, 0))

    @dataclasses.dataclass
    class Moved(Message):
        """The cursor stands on another number."""

        heat_map: "HeatMap"
        place: Place
        value: float

        @property
        def control(self) -> "HeatMap":
            return self.heat_map

    def __init__(self, ascii: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._plain = ascii or bool(os.environ.get("NO_COLOR"))
        self.rows: Sequence[Sequence[float]] = []
        self.labels: Sequence[str] = []
        self._largest = 1.0

    def show(self, rows: Sequence[Sequence[float]], labels: Sequence[str] = ()) -> None:
        """Show these numbers; `labels` stand before the rows."""
        self.rows, self.labels = rows, labels
        finite = [abs(value) for row in rows for value in row if math.isfinite(value)]
        self._largest = max(finite, default=0.0) or 1.0
        self.virtual_size = Size(self._margin + CELL * max(map(len, rows), default=0), len(rows))
        row, column = self.cursor
        self.set_reactive(HeatMap.cursor, (min(row, max(0, len(rows) - 1)), column))
        self.set_reactive(HeatMap.cursor, self._within(*self.cursor))
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
        segments += [self._cell(number, column, value) for column, value in enumerate(self.rows[number])]
        return Strip(segments).crop_extend(left, left + self.size.width, self.rich_style)

    def watch_cursor(self, cursor: Place) -> None:
        row, column = cursor
        if self.rows and self.rows[row]:
            self.scroll_to_region(Region(self._margin + CELL * column, row, CELL, 1), animate=False, force=True)
            self.post_message(self.Moved(self, cursor, self.rows[row][column]))
        self.refresh()

    def action_move(self, down: int, right: int) -> None:
        row, column = self.cursor
        self.cursor = self._within(row + down, column + right)

    def on_click(self, event: Click) -> None:
        """Go to the number under the pointer; a label selects its row."""
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

    def _within(self, row: int, column: int) -> Place:
        row = max(0, min(row, len(self.rows) - 1))
        return (row, max(0, min(column, len(self.rows[row]) - 1))) if self.rows else (0, 0)

    def _cell(self, row: int, column: int, value: float) -> Segment:
        here = self.has_focus and (row, column) == self.cursor
        if not math.isfinite(value):
            return Segment("!!", Style(reverse=here, bold=True))
        share = abs(value) / self._largest
        sign = "-" if value < 0 else "+"
        if self._plain:
            ink = _INK[round(share * (len(_INK) - 1))]
            return Segment(" " * CELL if ink == " " else f"{sign}{ink}", Style(reverse=here))
        colour = self._colour(value < 0, math.ceil(share * _SHADES))
        return Segment("[]" if here else " " * CELL, self.rich_style + Style(bgcolor=colour.rich_color, bold=here))

    def _colour(self, negative: bool, shade: int) -> Color:
        ink = self.get_component_styles("heat-map--negative" if negative else "heat-map--positive").color
        paper = self.background_colors[1]
        return paper.blend(ink, shade / _SHADES, 1.0)
