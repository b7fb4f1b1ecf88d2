"""The list of runs: the table with its filter, order and marks, and a text if it is empty."""

from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import DataTable, Static

from screens.runs.columns import (
    AGE,
    BY_NAME,
    COLUMNS,
    DEFAULT_SORT,
    NARROW,
    SORTABLE,
    format_cell,
    format_row,
    make_sort_order,
    sort_rows,
)
from screens.runs.listing import RunListing
from screens.runs.marks import RunMarks
from screens.runs.rows import RunRow
from screens.shared.table import RowTable

_READING = "Reading {results} …"
_NO_RUNS = """No runs in {results} yet

Press 1 to open the form of a new run, then f5 to start it.
In a shell: nanochat-tui --no-ui train"""


class RunList(Vertical):
    """A table of the runs that match the filter, in the chosen order."""

    class Updated(Message):
        """The rows, their order or their marks have changed."""

    table = query_one("#table", RowTable)
    message = query_one("#message", Static)
    filter_text: reactive[str] = reactive("", repaint=False, init=False)
    sort: reactive[tuple[str, bool]] = reactive((DEFAULT_SORT, False), repaint=False, init=False)  # column, reversed

    def __init__(self, results: Path, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self._results = results
        self._ascii = ascii
        self._rows: dict[str, RunRow] | None = None  # None: not read yet
        self._listing = RunListing()
        self._marks = RunMarks()

    def compose(self) -> ComposeResult:
        yield RowTable(COLUMNS, self._ascii, has_series=True, fallback=NARROW, id="table")
        yield Static(_READING.format(results=self._results), id="message", markup=False)

    @property
    def row_at_cursor(self) -> RunRow | None:
        return (self._rows or {}).get(self.table.key_at_cursor)

    @property
    def marked_rows(self) -> dict[int, RunRow]:
        """The marked runs by their numbers."""
        rows = self._rows or {}
        return {number: rows[key] for key, number in self._marks.numbers.items() if key in rows}

    @property
    def has_runs(self) -> bool:
        """True if there are runs, whether they match the filter or not."""
        return bool(self._rows)

    def show(self, listing: RunListing, is_partial: bool) -> list[RunRow]:
        """Show new rows; more follow if `is_partial`. Return removed rows that were at the cursor or marked."""
        rows = {row.key: row for row in listing.rows}
        at_cursor, before = self.row_at_cursor, self._rows or {}
        gone = [row for key, row in before.items() if key not in rows and (row is at_cursor or key in self._marks)]
        self._rows, self._listing = rows, listing
        self._marks.retain(rows)
        self._update_table()
        self.table.keeps_first_row = not is_partial  # the user did not choose the first of those read so far
        return gone

    def toggle_mark(self) -> bool:
        """Mark or unmark the run at the cursor. Return False if no more runs can be marked."""
        is_possible = self._marks.toggle(self.table.key_at_cursor)
        self._update_table()
        return is_possible

    def sort_by_next(self) -> None:
        self.sort = (SORTABLE[(SORTABLE.index(self.sort[0]) + 1) % len(SORTABLE)], False)

    def reverse(self) -> None:
        self.sort = (self.sort[0], not self.sort[1])

    @on(DataTable.HeaderSelected)
    def _sort_by_header(self, message: DataTable.HeaderSelected) -> None:
        name = message.column_key.value
        if name in SORTABLE:
            self.sort = (name, name == self.sort[0] and not self.sort[1])

    def update_ages(self) -> None:
        """Show the ages that have changed since they were painted."""
        rows = self._rows or {}
        self.table.update_column(AGE, lambda key: format_cell(BY_NAME[AGE], rows[key], self._ascii))

    def watch_filter_text(self) -> None:
        self._update_table()

    def watch_sort(self) -> None:
        self._update_table()

    def _update_table(self) -> None:
        if self._rows is None:
            return
        words = self.filter_text.split()
        rows = sort_rows([row for row in self._rows.values() if row.matches(words)], *self.sort)
        order = make_sort_order(*self.sort)
        cells = {row.key: format_row(row, self._ascii) for row in rows}
        self.table.show(cells, self._marks.numbers, order, self._listing.longest)
        total = len(self._rows)
        count = f"Runs: {len(rows)} of {total}" if len(rows) < total else f"Runs: {total}"
        marked = f"{' - ' if self._ascii else ' · '}{len(self._marks)} marked" if self._marks else ""
        self.border_title = count + marked
        self.border_subtitle = f"Sorted by {BY_NAME[order.column].label} {order.arrow(self._ascii)}"
        self.table.set_class(not rows, "-empty")
        self.message.display = not rows
        if not rows:
            no_match = f"No runs match {self.filter_text!r}. Press esc to clear the filter."
            self.message.update(no_match if total else _NO_RUNS.format(results=self._results))
        self.post_message(self.Updated())
