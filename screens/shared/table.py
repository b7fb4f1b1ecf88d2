"""Table whose rows have keys: cells are built when they are drawn, and the cursor stays on its row."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual._two_way_dict import TwoWayDict
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.theme import Theme
from textual.widgets import DataTable
from textual.widgets._data_table import ColumnKey, RowKey
from textual.widgets._data_table import Row as DataTableRow

PADDING = 1  # cells on either side of each column
SCROLLBAR_WIDTH = 1
_MAX_HEIGHT_WITHOUT_HEADER = 3  # lines


class FittedColumn(NamedTuple):
    """A column as it is shown."""

    label: str
    width: int
    is_right_aligned: bool = False


class KeyedTable(DataTable[Text]):
    """A table that keeps cursor and scroll position on the same row when rows are added, removed or sorted.

    Subclasses decide which columns fit and build the cells. A cell is built when it is drawn for the first time:
    `DataTable.add_row` needs the cells of all rows, which take a second to build for 5,000 rows.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", id="table.down", tooltip="Select the next row", show=False),
        Binding("k", "cursor_up", "Up", id="table.up", tooltip="Select the previous row", show=False),
        Binding("home", "scroll_top", "First", id="table.first", tooltip="Select the first row", show=False),
        Binding("end", "scroll_bottom", "Last", id="table.last", tooltip="Select the last row", show=False),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=PADDING)
        self.stays_on_first_row = False  # keep a cursor on the first row there, instead of on the row's key
        self._keys: list[str] = []
        self._fitted: Mapping[str, FittedColumn] = {}

    def fit_columns(self) -> Mapping[str, FittedColumn]:
        """Return the columns that fit into the current width, by name, in their order."""
        raise NotImplementedError

    def build_cell(self, key: str, column: str) -> Text:
        """Build the cell of a row and a column."""
        raise NotImplementedError

    @property
    def keys(self) -> list[str]:
        return list(self._keys)

    @property
    def shown_columns(self) -> list[str]:
        return list(self._fitted)

    @property
    def key_at_cursor(self) -> str:
        """The key of the row at the cursor; empty if there is none."""
        return self._keys[self.cursor_row] if 0 <= self.cursor_row < len(self._keys) else ""

    def set_keys(self, keys: list[str]) -> bool:
        """Show the rows with these keys, in this order.

        Return False if neither rows nor columns have changed; then update changed cells with `update_cell`.
        """
        fitted = self.fit_columns()
        if not fitted:  # hidden, and not built yet
            return True
        if fitted != self._fitted:
            self._rebuild(fitted, keys)
            return True
        if keys != self._keys:
            with self._cursor_kept(keys):
                self._fill(keys)
            return True
        return False

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._on_theme_changed)

    def on_resize(self, event: Resize) -> None:
        self.show_header = event.size.height > _MAX_HEIGHT_WITHOUT_HEADER
        if not self.set_keys(self._keys) and self._keys:
            self.move_cursor(row=self.cursor_row)  # scroll it into view

    def _on_theme_changed(self, _: Theme) -> None:
        """Build the cells again: they contain colours of the previous theme."""
        self._rebuild(self._fitted, self._keys)

    def _rebuild(self, fitted: Mapping[str, FittedColumn], keys: list[str]) -> None:
        """Replace columns and rows."""
        with self._cursor_kept(keys):
            self._fitted = fitted
            self.clear(columns=True)
            for name, column in fitted.items():
                label = Text(column.label, justify="right" if column.is_right_aligned else "left", no_wrap=True)
                self.add_column(label, width=column.width, key=name)
            self._fill(keys)

    def _fill(self, keys: list[str]) -> None:
        """Replace the rows, without building their cells."""
        self._clear_caches()
        self._keys = list(keys)
        row_keys = [RowKey(key) for key in self._keys]
        self._data = {key: _LazyRow(self, str(key.value)) for key in row_keys}
        self.rows = {key: DataTableRow(key, 1) for key in row_keys}
        self._row_locations = TwoWayDict({key: place for place, key in enumerate(row_keys)})
        self._update_count += 1
        self._require_update_dimensions = True
        self.check_idle()
        self.refresh()

    @contextlib.contextmanager
    def _cursor_kept(self, keys: list[str]) -> Iterator[None]:
        """Keep the cursor on its row and the row on its line, or the cursor on its line if its row is removed."""
        key, line, scroll = self.key_at_cursor, self.cursor_row, self.scroll_offset.y
        if self.stays_on_first_row and line == 0:
            key = ""
        with self.prevent(DataTable.RowHighlighted):
            yield
        if not keys:
            return
        is_kept = key in keys
        place = keys.index(key) if is_kept else min(line, len(keys) - 1)
        with self.prevent(DataTable.RowHighlighted):
            self.move_cursor(row=place, scroll=False)
        self.call_after_refresh(self._scroll_to_line, max(0, scroll + (place - line if is_kept else 0)))

    def _scroll_to_line(self, y: int) -> None:
        self.scroll_to(y=y, animate=False, immediate=True)


class _LazyRow(dict[ColumnKey, Text]):
    """The cells of one row, each built on first access."""

    def __init__(self, table: KeyedTable, key: str) -> None:
        super().__init__()
        self._table, self._key = table, key

    def __missing__(self, column: ColumnKey) -> Text:
        self[column] = self._table.build_cell(self._key, str(column.value))
        return self[column]
