"""The table with its frame: how many runs there are, how they are sorted, and words where there is none."""

from collections.abc import Mapping
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Static

from screens.runs.listing import Listing
from screens.runs.table import RunsTable

_READING = "reading {results} ..."
_FIRST_RUN = """there are no runs in {results} yet

1 opens the form of a new run, f5 starts it
in a shell: nanochat-tui --no-ui train"""


class RunsPane(Vertical):
    """Shows some of all rows."""

    table = query_one("#table", RunsTable)
    words = query_one("#words", Static)

    def __init__(self, results: Path, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self._results = results
        self._ascii = ascii

    def compose(self) -> ComposeResult:
        yield RunsTable(self._ascii, id="table")
        yield Static(_READING.format(results=self._results), id="words", markup=False)

    def show(self, listing: Listing, total: int, wanted: str, marks: Mapping[str, int], sort: tuple[str, bool]) -> None:
        """Rows in their order, those of `total` that fit what is wanted."""
        rows = listing.rows
        self.table.show(listing, marks, sort)
        shown = len(rows)
        count = f"runs {shown} of {total}" if shown < total else f"runs {total}"
        marked = f"{' - ' if self._ascii else ' · '}{len(marks)} marked" if marks else ""
        self.border_title = count + marked
        self.border_subtitle = f"sorted by {self.table.sort_words}"
        self.table.set_class(not rows, "-empty")
        self.words.display = not rows
        if not rows:
            nothing = f"no run fits {wanted!r}; esc clears the filter"
            self.words.update(nothing if total else _FIRST_RUN.format(results=self._results))
