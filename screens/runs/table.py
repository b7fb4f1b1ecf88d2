"""The table of runs, with the numbers of marked ones."""

from collections.abc import Mapping
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType

from screens.runs import columns
from screens.runs.columns import AGE, BY_NAME, COLUMNS, PADDING, SLIM, Column
from screens.runs.listing import Listing
from screens.runs.marks import MOST
from screens.runs.row import Row
from screens.shared.table import SCROLLBAR_WIDTH, FittedColumn, KeyedTable

_MARK = "mark"
_FAILED = ("crashed", "killed", "halted", "stuck")
_STATE_COLUMNS = ("state", SLIM.name)  # in the colour of the state


class RunsTable(KeyedTable):
    """Shows runs in the given order; a mark is a number in front of a row."""

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
            tooltip="Open the run on the train screen",
            key_display="enter",
        ),
    ]

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii = ascii
        self._rows: dict[str, Row] = {}
        self._marks: dict[str, int] = {}
        self._widths: dict[str, int] = {}
        self._sort = ("", False)

    @property
    def row_at_cursor(self) -> Row | None:
        return self._rows.get(self.key_at_cursor)

    def show(self, listing: Listing, marks: Mapping[str, int], sort: tuple[str, bool]) -> None:
        """Show runs. `marks` has the number of each marked row; `sort` the column that orders, and whether reversed."""
        before, marks_before = self._rows, self._marks
        self._rows = {row.key: row for row in listing.rows}
        self._marks, self._sort = dict(marks), sort
        for column in COLUMNS:
            longest = listing.longest.get(column.name, 0)
            self._widths[column.name] = columns.width_of(column, longest, sorts=column.name == sort[0])
        if self.set_keys(list(self._rows)):
            return
        for key, row in self._rows.items():
            if row is not before[key]:
                self._update_row(key, row, before[key])
            if marks_before.get(key) != self._marks.get(key):
                self.update_cell(key, _MARK, self._build_mark(key))

    def _update_row(self, key: str, row: Row, before: Row) -> None:
        texts, texts_before = columns.texts_of(row, self._ascii), columns.texts_of(before, self._ascii)
        for name in self.shown_columns:
            if name == _MARK:
                continue
            if texts[name] != texts_before[name] or (name in _STATE_COLUMNS and row.state != before.state):
                self.update_cell(key, name, self.build_cell(key, name))

    def update_ages(self) -> None:
        """Update the ages that have changed, in the rows whose cells were built."""
        for key, cells in self._data.items():
            age = cells.get(AGE)  # type: ignore[call-overload]
            if age is not None and age.plain != columns.told(BY_NAME[AGE], self._rows[str(key.value)], self._ascii):
                self.update_cell(key, AGE, self.build_cell(str(key.value), AGE))

    # --- columns and cells ------------------------------------------------------------------------

    def fit_columns(self) -> Mapping[str, FittedColumn]:
        if not self._widths or not self.size.width:  # hidden
            return self._fitted
        available = self.size.width - SCROLLBAR_WIDTH - (1 + 2 * PADDING)
        widths = columns.fitting(self._widths, available, self._sort[0])
        fitted = {name: FittedColumn(self._label(BY_NAME[name]), widths[name], BY_NAME[name].right) for name in widths}
        return {_MARK: FittedColumn("", 1), **fitted}

    def _rebuild(self, fitted: Mapping[str, FittedColumn], keys: list[str]) -> None:
        self.cell_padding = 0 if SLIM.name in fitted else PADDING
        super()._rebuild(fitted, keys)

    def build_cell(self, key: str, column: str) -> Text:
        if column == _MARK:
            return self._build_mark(key)
        row, declared = self._rows[key], BY_NAME[column]
        style = self._state_style(row) if column in _STATE_COLUMNS else Style()
        justify = "right" if declared.right else "left"
        text = columns.told(declared, row, self._ascii)
        return Text(text, style, justify=justify, no_wrap=True, overflow="ellipsis", end="")  # type: ignore[arg-type]

    def _build_mark(self, key: str) -> Text:
        number = self._marks.get(key)
        return Text(str(number), self._style(f"mark-{number}")) if number else Text(" ")

    def _state_style(self, row: Row) -> Style:
        if row.problem or row.state in _FAILED:
            return self._style("failed")
        return self._style("live") if row.live else Style()

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"runs-table--{part}", partial=True)

    # --- the order --------------------------------------------------------------------------------

    @property
    def sort_words(self) -> str:
        name, _ = self._sort
        return f"{BY_NAME[name].label} {self._arrow()}" if name else ""

    def _label(self, column: Column) -> str:
        return f"{column.label} {self._arrow()}" if column.name == self._sort[0] else column.label

    def _arrow(self) -> str:
        """Return an arrow that points down if the first row has the largest value."""
        name, is_reversed = self._sort
        is_descending = name in BY_NAME and BY_NAME[name].falling != is_reversed
        if name == AGE:  # sorted by the time of creation, which decreases with the age
            is_descending = not is_descending
        return ("v" if is_descending else "^") if self._ascii else ("↓" if is_descending else "↑")
