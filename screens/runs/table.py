"""The table of runs: only visible cells are built, and only changed ones are updated.

Every refresh keeps cursor, scroll position and marks.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual._two_way_dict import TwoWayDict
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.theme import Theme
from textual.widgets import DataTable
from textual.widgets._data_table import ColumnKey, RowKey
from textual.widgets._data_table import Row as DataTableRow

from screens.runs import columns
from screens.runs.columns import AGE, BY_NAME, COLUMNS, PADDING, SLIM, Column
from screens.runs.listing import Listing
from screens.runs.marks import MOST
from screens.runs.row import Row

_MARK = "mark"
_FAILED = ("crashed", "killed", "halted", "stuck")
_OF_STATE = ("state", SLIM.name)  # columns in the colour of the state
_SCROLLBAR = 1
_LOW = 3  # lines: too few to spend one on labels


class _Cells(dict[ColumnKey, Text]):
    """The cells of one row, each built on first access."""

    def __init__(self, table: "RunsTable", key: str) -> None:
        super().__init__()
        self._table, self._key = table, key

    def __missing__(self, column: ColumnKey) -> Text:
        name = str(column.value)
        self[column] = self._table.make_cell(name, self._key)
        return self[column]


class RunsTable(DataTable[Text]):
    """Shows rows in the order they are given in; a mark is a number before its row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "runs-table--live",
        "runs-table--failed",
        *(f"runs-table--mark-{number}" for number in range(1, MOST + 1)),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "screen.open_run",
            "Open",
            id="runs.open",
            tooltip="Look at it on the train screen",
            key_display="enter",
        ),
        Binding("j", "cursor_down", "Down", id="runs.down", tooltip="The run below", show=False),
        Binding("k", "cursor_up", "Up", id="runs.up", tooltip="The run above", show=False),
        Binding("home", "scroll_top", "First", id="runs.first", tooltip="The first run", show=False),
        Binding("end", "scroll_bottom", "Last", id="runs.last", tooltip="The last run", show=False),
    ]

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=PADDING)
        self._ascii = ascii
        self._rows: dict[str, Row] = {}
        self._marks: dict[str, int] = {}
        self.is_growing = False  # whether runs are still being added that were there before
        self._order: list[str] = []  # keys of the rows, as they are shown
        self._widths: dict[str, int] = {}
        self._layout: tuple[dict[str, int], str] = ({}, "")  # columns with their widths, and what it is sorted by
        self._sort = ("", False)

    # --- what is shown ----------------------------------------------------------------------------

    @property
    def row_at_cursor(self) -> Row | None:
        return self._rows.get(self._key_at_cursor())

    @property
    def shown_columns(self) -> list[str]:
        return list(self._layout[0])

    def show(self, listing: Listing, marks: Mapping[str, int], sort: tuple[str, bool]) -> None:
        """`marks`: the number of each marked row; `sort`: the column that orders, and whether it is reversed."""
        before, known_marks = self._rows, self._marks
        self._rows = {row.key: row for row in listing.rows}
        self._marks, self._sort = dict(marks), sort
        for column in COLUMNS:
            longest = listing.longest.get(column.name, 0)
            self._widths[column.name] = columns.width_of(column, longest, sorts=column.name == sort[0])
        if self._arrange():
            return
        for key, row in self._rows.items():
            if row is not before[key]:
                self._update_row(key, row, before[key])
            if known_marks.get(key) != self._marks.get(key):
                self.update_cell(key, _MARK, self._mark(key))

    def _update_row(self, key: str, row: Row, before: Row) -> None:
        texts, known = columns.texts_of(row, self._ascii), columns.texts_of(before, self._ascii)
        for name in self.shown_columns:
            if texts[name] != known[name] or (name in _OF_STATE and row.state != before.state):
                self.update_cell(key, name, self._cell(BY_NAME[name], key))

    def update_ages(self) -> None:
        """Show the ages that have changed, in the rows that were drawn."""
        for key, cells in self._data.items():
            age = cells.get(AGE)  # type: ignore[call-overload]
            if age is not None and age.plain != columns.told(BY_NAME[AGE], self._rows[str(key.value)], self._ascii):
                self.update_cell(key, AGE, self._cell(BY_NAME[AGE], str(key.value)))

    def on_resize(self, event: Resize) -> None:
        self.show_header = event.size.height > _LOW
        if not self._arrange() and self._rows:
            self.move_cursor(row=self.cursor_row)  # into view

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._take_theme)

    def _take_theme(self, _: Theme) -> None:
        """The cells hold colours of the old one."""
        if self._layout[0]:
            self._rebuild()

    # --- building ---------------------------------------------------------------------------------

    def _arrange(self) -> bool:
        """Build anew if other columns fit by now or the rows are not the same; else only put them in their order."""
        chosen = self._layout[0]  # while it is hidden it has no size, and keeps its columns
        if self._widths and self.size.width:
            room = self.size.width - _SCROLLBAR - (1 + 2 * PADDING)
            chosen = columns.fitting(self._widths, room, self._sort[0])
        if not chosen:
            return True
        layout = (chosen, self._sort_label())
        is_other = self._order != list(self._rows)
        if layout != self._layout:
            self._layout = layout
            self._rebuild()
            return True
        if is_other:
            self._refill()
        return is_other

    def _rebuild(self) -> None:
        """Rebuild columns and rows."""
        with self._cursor_kept():
            self.clear(columns=True)
            self.cell_padding = 0 if SLIM.name in self._layout[0] else PADDING
            self.add_column(Text(), width=1, key=_MARK)
            for name, width in self._layout[0].items():
                self.add_column(self._label(BY_NAME[name]), width=width, key=name)
            self._fill()

    def _refill(self) -> None:
        with self._cursor_kept():
            self._fill()

    def _fill(self) -> None:
        """Add rows in their order, without their cells: a cell is built when it is drawn.

        `add_row` would build the cells of all rows, which takes a second for 5,000 of them.
        """
        self._clear_caches()
        self._order = list(self._rows)
        keys = [RowKey(key) for key in self._order]
        self._data = {key: _Cells(self, str(key.value)) for key in keys}
        self.rows = {key: DataTableRow(key, 1) for key in keys}
        self._row_locations = TwoWayDict({key: place for place, key in enumerate(keys)})
        self._update_count += 1
        self._require_update_dimensions = True
        self.check_idle()
        self.refresh()

    @contextlib.contextmanager
    def _cursor_kept(self) -> Iterator[None]:
        """Keep the cursor on its run, and the run on its line."""
        at, index, scroll = self._key_at_cursor(), self.cursor_row, self.scroll_offset.y
        if self.is_growing and not index:
            at = ""  # the user did not choose the first of those read so far
        with self.prevent(DataTable.RowHighlighted):
            yield
        if not self._rows:
            return
        place = list(self._rows).index(at) if at in self._rows else min(index, len(self._rows) - 1)
        with self.prevent(DataTable.RowHighlighted):
            self.move_cursor(row=place, scroll=False)
        self.call_after_refresh(self._scroll_back, max(0, scroll + (place - index if at in self._rows else 0)))

    def _scroll_back(self, y: int) -> None:
        self.scroll_to(y=y, animate=False, immediate=True)

    def _key_at_cursor(self) -> str:
        return self._order[self.cursor_row] if 0 <= self.cursor_row < len(self._order) else ""

    # --- cells ------------------------------------------------------------------------------------

    @property
    def sort_words(self) -> str:
        name, _, arrow = self._sort_label().partition(" ")
        return f"{BY_NAME[name].label} {arrow}" if name else ""

    def _sort_label(self) -> str:
        name, reverse = self._sort
        falling = name in BY_NAME and BY_NAME[name].falling != reverse
        if name == "age":  # by the time of its making, which is the other way round
            falling = not falling
        return f"{name} {self._arrow(falling)}"

    def _arrow(self, falling: bool) -> str:
        return ("v" if falling else "^") if self._ascii else ("↓" if falling else "↑")

    def _label(self, column: Column) -> Text:
        name, _, arrow = self._layout[1].partition(" ")
        label = f"{column.label} {arrow}" if column.name == name else column.label
        return Text(label, justify="right" if column.right else "left", no_wrap=True)

    def make_cell(self, name: str, key: str) -> Text:
        return self._mark(key) if name == _MARK else self._cell(BY_NAME[name], key)

    def _cell(self, column: Column, key: str) -> Text:
        style = self._state_style(self._rows[key]) if column.name in _OF_STATE else Style()
        text = columns.told(column, self._rows[key], self._ascii)
        return Text(text, style, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis", end="")

    def _state_style(self, row: Row) -> Style:
        if row.problem or row.state in _FAILED:
            return self._style("failed")
        return self._style("live") if row.live else Style()

    def _mark(self, key: str) -> Text:
        number = self._marks.get(key)
        return Text(str(number), self._style(f"mark-{number}")) if number else Text(" ")

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"runs-table--{part}", partial=True)
