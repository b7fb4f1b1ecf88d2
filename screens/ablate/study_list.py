"""List of all studies; without any, an introduction to studies."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Static

from screens.ablate.columns import STUDY_COLUMNS, build_study_rows
from screens.ablate.reader import StudyRow
from screens.shared.table import RowTable

_READING = "Reading studies ..."
_INTRODUCTION = """No studies yet. Press n to plan a study and f5 to start it.

A study trains variants of one run with the same seeds, and tests which differences are more than noise. In a shell:

    nanochat-tui --no-ui ablate --axis lr=0.01,0.03,0.1 --seeds 3

Without an axis it compares four bigrams: tied and untied head, with and without RMSNorm of the input."""


class StudyList(Vertical):
    """A table of studies, newest first."""

    table = query_one("#studies", RowTable)

    def __init__(self, ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id, classes="pane")
        self._ascii = ascii
        self.rows: list[StudyRow] | None = None  # None until they have been read

    def compose(self) -> ComposeResult:
        yield RowTable(STUDY_COLUMNS, self._ascii, id="studies")
        yield Static(_READING, id="studies-text", markup=False)

    def on_mount(self) -> None:
        self.border_title = "Studies"
        self.table.display = False

    @property
    def row_at_cursor(self) -> StudyRow | None:
        """The study at the cursor; None if there is none."""
        return self.find_row(self.table.key_at_cursor)

    def find_row(self, key: str) -> StudyRow | None:
        """Return the study with this key, or None if there is none."""
        return next((row for row in self.rows or () if row.key == key), None)

    def show(self, rows: list[StudyRow]) -> None:
        """Show these studies; focus the table when the first one appears."""
        was_empty, self.rows = not self.table.display, rows
        self.table.display = bool(rows)
        text = self.query_one("#studies-text", Static)
        text.display = not rows
        self.table.show(build_study_rows(rows, self._ascii))
        title = f"Studies {len(rows)}" if rows else "Studies"
        if self.border_title != title:  # assigning it repaints the pane
            self.border_title = title
            self.border_subtitle = "Press enter to open a study" if rows else ""
        if not rows and str(text.content) != _INTRODUCTION:
            text.update(Text(_INTRODUCTION))
        if rows and was_empty and self.display:
            self.table.focus()
