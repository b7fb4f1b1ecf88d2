"""A table of figures: columns give way by rank where there is little room, and only cells that changed are painted."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.console import JustifyMethod, OverflowMethod
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.theme import Theme
from textual.widgets import DataTable

SERIES_NUMBERS = range(1, 9)  # colours of curves that can be told apart
_PADDING = 1  # cells on either side of each column
_SCROLLBAR = 1
_LOW = 3  # lines: too few to spend one on labels


@dataclasses.dataclass(frozen=True)
class Column:
    """`rank`: columns with a low one stay longest. Texts end with dots after `most` cells, or, where there is no more
    room, after fewer, if at least `least` of them are to be seen."""

    name: str
    label: str
    rank: int
    right: bool = False
    most: int = 40
    least: int | None = None  # None: all of it


class Cell(NamedTuple):
    """A text, and which of the table's component classes gives it its colour."""

    text: str
    style: str = ""


Rows = Mapping[str, Mapping[str, Cell]]  # by key, then by column; in the order in which they stand


class FigureTable(DataTable[Text]):
    """Shows rows in the order they are given in; the cursor stays on its row wherever that goes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"figures--{part}" for part in ("live", "failed", "good", "bad", "faint", "base")),
        *(f"figures--series-{number}" for number in SERIES_NUMBERS),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open", "Open", id="ablate.open", tooltip="Look at it", show=False),
        Binding("j", "cursor_down", "Down", id="ablate.down", tooltip="The line below", show=False),
        Binding("k", "cursor_up", "Up", id="ablate.up", tooltip="The line above", show=False),
        Binding("home", "scroll_top", "First", id="ablate.first", tooltip="The first line", show=False),
        Binding("end", "scroll_bottom", "Last", id="ablate.last", tooltip="The last line", show=False),
    ]

    def __init__(self, columns: Sequence[Column], ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=_PADDING)
        self._declared = columns
        self._overflow: OverflowMethod = "crop" if ascii else "ellipsis"
        self._cells: Rows = {}
        self._widths: dict[str, int] = {}  # of the columns that are shown

    @property
    def keys(self) -> list[str]:
        return list(self._cells)

    @property
    def key_at_cursor(self) -> str:
        """Empty where there is no row."""
        return self.keys[self.cursor_row] if 0 <= self.cursor_row < len(self._cells) else ""

    def cell_text(self, key: str, column: str) -> str:
        """Return the whole text of a cell, also of a column that is not shown."""
        return self._cells[key][column].text

    def show(self, rows: Rows) -> None:
        at, before, self._cells = self.key_at_cursor, self._cells, rows
        if self._fitting() != self._widths or list(before) != list(rows):
            self._rebuild(at)
            return
        for key, cells in rows.items():
            for column in self._shown:
                if cells[column.name] != before[key][column.name]:
                    self.update_cell(key, column.name, self._text(column, cells[column.name]))

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._take_theme)

    def on_resize(self, event: Resize) -> None:
        self.show_header = event.size.height > _LOW
        if self._fitting() != self._widths:
            self._rebuild(self.key_at_cursor)
        elif self._cells:
            self.move_cursor(row=self.cursor_row)  # into view

    def _take_theme(self, _: Theme) -> None:
        """The cells hold colours of the old one."""
        self._rebuild(self.key_at_cursor)

    # --- building ---------------------------------------------------------------------------------

    @property
    def _shown(self) -> list[Column]:
        return [column for column in self._declared if column.name in self._widths]

    def _fitting(self) -> dict[str, int]:
        """The columns that fit, with their widths: by rank, and the first of them however narrow it must be."""
        if not self.size.width:
            return self._widths or {column.name: len(column.label) for column in self._declared}
        left = self.size.width - _SCROLLBAR
        found: dict[str, int] = {}
        for column in sorted(self._declared, key=lambda column: column.rank):
            texts = [cell_len(row[column.name].text) for row in self._cells.values()]
            width = min(column.most, max([cell_len(column.label), *texts]))
            room = left - 2 * _PADDING
            if found and room < min(width, width if column.least is None else column.least):
                break
            found[column.name] = max(1, min(width, room))
            left -= found[column.name] + 2 * _PADDING
        return {column.name: found[column.name] for column in self._declared if column.name in found}

    def _rebuild(self, at: str) -> None:
        """All rows anew, in the order they have now."""
        index, scroll = self.cursor_row, self.scroll_offset.y
        self._widths = self._fitting()
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for column in self._shown:
                label = Text(column.label, justify="right" if column.right else "left", no_wrap=True)
                self.add_column(label, width=self._widths[column.name], key=column.name)
            for key, cells in self._cells.items():
                self.add_row(*(self._text(column, cells[column.name]) for column in self._shown), key=key)
        if self._cells:
            place = self.keys.index(at) if at in self._cells else min(index, len(self._cells) - 1)
            self.move_cursor(row=place, scroll=False)
            self.call_after_refresh(self._scroll_back, max(0, scroll + (place - index if at in self._cells else 0)))

    def _scroll_back(self, y: int) -> None:
        self.scroll_to(y=y, animate=False, immediate=True)

    def _text(self, column: Column, cell: Cell) -> Text:
        style = self.get_component_rich_style(f"figures--{cell.style}", partial=True) if cell.style else Style()
        justify: JustifyMethod = "right" if column.right else "left"
        return Text(cell.text, style, justify=justify, no_wrap=True, overflow=self._overflow, end="")
