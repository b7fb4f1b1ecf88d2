"""A table whose columns give way by rank on narrow terminals, and which builds and paints only what is visible.

    table = RowTable([TableColumn("run", "run", rank=0), TableColumn("step", "step", rank=1, align_right=True)], ascii)
    table.show({"amber-fox": {"run": TableCell("amber-fox", "active"), "step": TableCell("40")}})

Rows are mappings of cells by column, under a key and in the order of the table. Give a row that has not changed as the
same object again: it is not compared. Cursor and scroll position stay on their row. `series` are the numbers (and
colours) of rows that have a curve on a chart; they have a column of their own, the first one.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.console import JustifyMethod, OverflowMethod
from rich.style import Style
from rich.text import Text
from textual._two_way_dict import TwoWayDict
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.theme import Theme
from textual.widgets import DataTable
from textual.widgets._data_table import ColumnKey, RowKey
from textual.widgets._data_table import Row as DataTableRow

from screens.chart import SERIES_NUMBERS

PADDING = 1  # cells on either side of a column
SERIES = "series"  # name of the column of series numbers
_SCROLLBAR = 1  # cells
_MIN_HEADER_HEIGHT = 4  # lines: a lower table has no line for labels
_STYLES = ("active", "failed", "good", "bad", "faint", "base")


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """A column; those of low rank stay longest. Widths are in cells, without padding.

    Texts longer than `max_width` are cut. Where there is no room for the longest text, the column may be as narrow as
    `shrinks_to`; None means that it is left out. An `is_optional` column is left out if all its texts are empty.
    """

    name: str
    label: str
    rank: float
    align_right: bool = False
    min_width: int = 0
    max_width: int = 40
    shrinks_to: int | None = None
    is_optional: bool = False

    @property
    def justify(self) -> JustifyMethod:
        return "right" if self.align_right else "left"


class TableCell(NamedTuple):
    """A text and its style: active, failed, good, bad, faint, base, or none."""

    text: str
    style: str = ""


class SortOrder(NamedTuple):
    """The column that rows are sorted by, and whether its values fall from top to bottom."""

    column: str = ""
    is_descending: bool = False
    is_default: bool = False  # the column keeps its rank; one that the user has chosen stays longer

    def arrow(self, ascii: bool) -> str:
        return ("v" if self.is_descending else "^") if ascii else ("↓" if self.is_descending else "↑")


TableRow = Mapping[str, TableCell]  # by column
TableRows = Mapping[str, TableRow]  # by key, in the order of the table


def measure_rows(columns: Sequence[TableColumn], rows: TableRows) -> dict[str, int]:
    """Return the width of the longest text of each column."""
    return {
        column.name: max((cell_len(row[column.name].text) for row in rows.values()), default=0) for column in columns
    }


def fit_columns(
    columns: Sequence[TableColumn], widths: Mapping[str, int], room: int, fallback: TableColumn | None = None
) -> dict[str, int]:
    """Return the columns that fit into `room` cells, with their widths: the lowest ranks, in their declared order.

    The first column becomes as narrow as it must; with a `fallback`, that is shown alone if not all columns of rank 1
    or lower fit.
    """
    left = room
    chosen: dict[str, int] = {}
    for column in sorted((column for column in columns if widths[column.name]), key=lambda column: column.rank):
        width, available = widths[column.name], left - 2 * PADDING
        needed = width if column.shrinks_to is None else min(width, column.shrinks_to)
        if available < needed and (chosen or fallback):
            break
        chosen[column.name] = max(1, min(width, available))
        left -= chosen[column.name] + 2 * PADDING
    if fallback and not {column.name for column in columns if column.rank <= 1 and widths[column.name]} <= set(chosen):
        return {fallback.name: max(1, room + 2 * PADDING)}  # it has no padding, nor has the column of series
    return {column.name: chosen[column.name] for column in columns if column.name in chosen}


class _LazyRow(dict[ColumnKey, Text]):
    """The rendered cells of one row, each built on first access."""

    def __init__(self, build: Callable[[str, str], Text], key: str) -> None:
        super().__init__()
        self._build, self._key = build, key

    def __missing__(self, column: ColumnKey) -> Text:
        self[column] = self._build(str(column.value), self._key)
        return self[column]


class RowTable(DataTable[Text]):
    """See the top of this file. `fallback` is the only column on terminals that are too narrow for ranks 0 and 1."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"table--{style}" for style in _STYLES),
        *(f"table--series-{number}" for number in SERIES_NUMBERS),
    }
    DEFAULT_CSS = f"""
    RowTable {{
        height: 1fr;
        background: $background;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        & > .table--active, & > .table--good {{ color: $success; text-style: bold; }}
        & > .table--failed, & > .table--bad {{ color: $error; text-style: bold; }}
        & > .table--faint {{ color: $foreground-muted; }}
        & > .table--base {{ color: $accent; text-style: bold; }}
        {"".join(f"& > .table--series-{n} {{ color: $series-{n}; text-style: bold; }}" for n in SERIES_NUMBERS)}
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open_row", "Open", id="table.open", tooltip="Open this row", key_display="enter"),
        Binding("j", "cursor_down", "Down", id="table.down", tooltip="Move to the next row", show=False),
        Binding("k", "cursor_up", "Up", id="table.up", tooltip="Move to the previous row", show=False),
        Binding("home", "scroll_top", "First", id="table.first", tooltip="Move to the first row", show=False),
        Binding("end", "scroll_bottom", "Last", id="table.last", tooltip="Move to the last row", show=False),
    ]

    def __init__(
        self,
        columns: Sequence[TableColumn],
        ascii: bool,
        has_series: bool = False,
        fallback: TableColumn | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=PADDING)
        self._columns_by_name = {column.name: column for column in (*columns, *([fallback] if fallback else ()))}
        self._declared, self._fallback, self._has_series = columns, fallback, has_series
        self._ascii = ascii
        self._overflow: OverflowMethod = "crop" if ascii else "ellipsis"
        self._rows_by_key: TableRows = {}
        self._keys: list[str] = []
        self._series: Mapping[str, int] = {}
        self._longest: Mapping[str, int] = {}
        self._sort = SortOrder()
        self._shown: tuple[dict[str, int], SortOrder] = ({}, SortOrder())  # columns with widths, and the order
        self.keeps_first_row = True  # whether a cursor on the first row follows that row

    @property
    def row_keys(self) -> list[str]:
        return list(self._keys)

    @property
    def key_at_cursor(self) -> str:
        """The key of the row at the cursor; empty if there is none."""
        return self._keys[self.cursor_row] if 0 <= self.cursor_row < len(self._keys) else ""

    @property
    def shown_columns(self) -> list[str]:
        return list(self._shown[0])

    def cell_text(self, key: str, column: str) -> str:
        """Return the text of a cell, shown or not."""
        return self._rows_by_key[key][column].text

    def show(
        self,
        rows: TableRows,
        series: Mapping[str, int] | None = None,
        sort: SortOrder | None = None,
        longest: Mapping[str, int] | None = None,
    ) -> None:
        """Show these rows. `longest`: the width of the longest text of each column, if that was measured before."""
        rows_before, series_before = self._rows_by_key, self._series
        self._rows_by_key, self._series, self._sort = rows, series or {}, sort or SortOrder()
        self._longest = longest or measure_rows(self._declared, rows)
        if self._arrange():
            return
        for key, row in rows.items():
            if row is not rows_before[key]:
                self._update_row(key, row, rows_before[key])
            if self._has_series and series_before.get(key) != self._series.get(key):
                self.update_cell(key, SERIES, self._build_cell(SERIES, key))

    def update_column(self, name: str, text_of: Callable[[str], str]) -> None:
        """Update the cells of a column that have been painted and whose text has changed."""
        for row_key, cells in self._data.items():
            cell, key = cells.get(name), str(row_key.value)  # type: ignore[call-overload]
            if cell is not None and cell.plain != (text := text_of(key)):
                self.update_cell(key, name, self._format_cell(name, TableCell(text)))

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._update_theme)

    def on_resize(self, event: Resize) -> None:
        self.show_header = event.size.height >= _MIN_HEADER_HEIGHT
        if not self._arrange() and self._keys:
            self.move_cursor(row=self.cursor_row)  # scrolls it into view

    # --- building -----------------------------------------------------------------------------------

    def _update_theme(self, _: Theme) -> None:
        """Build the cells again: they contain colours."""
        if self._shown[0]:
            self._rebuild()

    def _arrange(self) -> bool:
        """Build the table again if columns, keys or their order have changed. Return whether they have."""
        columns = self._shown[0]  # a hidden table has no size, and keeps its columns
        if self.size.width:
            room = self.size.width - _SCROLLBAR - (1 + 2 * PADDING) * self._has_series
            columns = fit_columns(self._ranked_columns(), self._widths(), room, self._fallback)
        elif not columns:
            columns = {column.name: width for column in self._declared if (width := self._widths()[column.name])}
        if (columns, self._sort) != self._shown:
            self._shown = (columns, self._sort)
            self._rebuild()
            return True
        if self._keys != list(self._rows_by_key):
            with self._cursor_kept():
                self._fill()
            return True
        return False

    def _ranked_columns(self) -> list[TableColumn]:
        """Return the columns; one that the user has sorted by stays longer."""
        if self._sort.is_default:
            return list(self._declared)
        return [
            dataclasses.replace(column, rank=1.5) if column.name == self._sort.column else column
            for column in self._declared
        ]

    def _widths(self) -> dict[str, int]:
        """Return the width of each column for its longest text and its label; 0 leaves it out."""
        widths = {}
        for column in self._declared:
            longest = self._longest.get(column.name, 0)
            label = cell_len(column.label) + 2 * (column.name == self._sort.column)  # with an arrow
            width = min(column.max_width, max(column.min_width, label, longest))
            widths[column.name] = 0 if column.is_optional and not longest else width
        return widths

    def _rebuild(self) -> None:
        with self._cursor_kept():
            self.clear(columns=True)
            is_fallback = self._fallback is not None and self._fallback.name in self._shown[0]
            self.cell_padding = 0 if is_fallback else PADDING
            if self._has_series:
                self.add_column(Text(), width=1, key=SERIES)
            for name, width in self._shown[0].items():
                self.add_column(self._format_label(self._columns_by_name[name]), width=width, key=name)
            self._fill()

    def _fill(self) -> None:
        """Add the rows without their cells, which are built when they are painted.

        `add_row` would build the cells of all rows, which takes a second for 5,000 of them.
        """
        self._clear_caches()
        self._keys = list(self._rows_by_key)
        keys = [RowKey(key) for key in self._keys]
        self._data = {key: _LazyRow(self._build_cell, str(key.value)) for key in keys}
        self.rows = {key: DataTableRow(key, 1) for key in keys}
        self._row_locations = TwoWayDict({key: place for place, key in enumerate(keys)})
        self._update_count += 1
        self._require_update_dimensions = True
        self.check_idle()
        self.refresh()

    @contextlib.contextmanager
    def _cursor_kept(self) -> Iterator[None]:
        """Keep the cursor on its row, and that row on its line."""
        key, index, scroll = self.key_at_cursor, self.cursor_row, self.scroll_offset.y
        if not index and not self.keeps_first_row:
            key = ""
        with self.prevent(DataTable.RowHighlighted):
            yield
        if not self._keys:
            return
        is_kept = key in self._rows_by_key
        place = self._keys.index(key) if is_kept else min(index, len(self._keys) - 1)
        with self.prevent(DataTable.RowHighlighted):
            self.move_cursor(row=place, scroll=False)
        y = max(0, scroll + (place - index if is_kept else 0))
        self.call_after_refresh(self.scroll_to, y=y, animate=False, immediate=True)

    # --- cells --------------------------------------------------------------------------------------

    def _update_row(self, key: str, row: TableRow, before: TableRow) -> None:
        for name in self.shown_columns:
            if row[name] != before[name]:
                self.update_cell(key, name, self._format_cell(name, row[name]))

    def _build_cell(self, name: str, key: str) -> Text:
        if name == SERIES:
            number = self._series.get(key)
            return Text(str(number), self._style(f"series-{number}")) if number else Text(" ")
        return self._format_cell(name, self._rows_by_key[key][name])

    def _format_cell(self, name: str, cell: TableCell) -> Text:
        justify = self._columns_by_name[name].justify
        style = self._style(cell.style) if cell.style else Style()
        return Text(cell.text, style, justify=justify, no_wrap=True, overflow=self._overflow, end="")

    def _format_label(self, column: TableColumn) -> Text:
        is_sorted = column.name == self._sort.column
        label = f"{column.label} {self._sort.arrow(self._ascii)}" if is_sorted else column.label
        return Text(label, justify=column.justify, no_wrap=True)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"table--{name}", partial=True)
