"""Table of studies or cells: columns are dropped by rank if space is short, and only changed cells are repainted."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.console import JustifyMethod, OverflowMethod
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType

from screens.shared.overlay import SERIES_NUMBERS
from screens.shared.table import PADDING, SCROLLBAR_WIDTH, FittedColumn, KeyedTable


@dataclasses.dataclass(frozen=True)
class RankedColumn:
    """A column that is shown before those with a higher `rank`.

    Its texts are cut off after `max_width` cells, and the last column that fits also after fewer, if at least
    `min_width` of them are visible.
    """

    name: str
    label: str
    rank: int
    is_right_aligned: bool = False
    max_width: int = 40
    min_width: int | None = None  # None: it is not cut off for lack of space


class StyledText(NamedTuple):
    """A text, and the name of its component class, which sets its colour."""

    text: str
    style: str = ""


TableRows = Mapping[str, Mapping[str, StyledText]]  # by key, then by column; in the order of the table


class ResultTable(KeyedTable):
    """Shows rows of styled texts."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"results--{style}" for style in ("live", "failed", "good", "bad", "faint", "base")),
        *(f"results--series-{number}" for number in SERIES_NUMBERS),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open", "Open", id="ablate.open", tooltip="Open the selection", show=False),
    ]

    def __init__(self, columns: Sequence[RankedColumn], ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ranked = columns
        self._overflow: OverflowMethod = "crop" if ascii else "ellipsis"
        self._texts: TableRows = {}

    def cell_text(self, key: str, column: str) -> str:
        """Return the whole text of a cell, also of a column that is not shown."""
        return self._texts[key][column].text

    def show(self, rows: TableRows) -> None:
        """Show these rows in their order."""
        before, self._texts = self._texts, rows
        if self.set_keys(list(rows)):
            return
        for key, texts in rows.items():
            for column in self.shown_columns:
                if texts[column] != before[key][column]:
                    self.update_cell(key, column, self.build_cell(key, column))

    def fit_columns(self) -> Mapping[str, FittedColumn]:
        """Fit columns by rank. The first is always shown, however narrow it must be."""
        if not self.size.width:  # hidden
            return self._fitted or {column.name: _fit(column, len(column.label)) for column in self._ranked}
        left = self.size.width - SCROLLBAR_WIDTH
        widths: dict[str, int] = {}
        for column in sorted(self._ranked, key=lambda column: column.rank):
            texts = [cell_len(row[column.name].text) for row in self._texts.values()]
            width = min(column.max_width, max([cell_len(column.label), *texts]))
            available = left - 2 * PADDING
            if widths and available < min(width, width if column.min_width is None else column.min_width):
                break
            widths[column.name] = max(1, min(width, available))
            left -= widths[column.name] + 2 * PADDING
        return {column.name: _fit(column, widths[column.name]) for column in self._ranked if column.name in widths}

    def build_cell(self, key: str, column: str) -> Text:
        text, style_name = self._texts[key][column]
        style = self.get_component_rich_style(f"results--{style_name}", partial=True) if style_name else Style()
        justify: JustifyMethod = "right" if self._fitted[column].is_right_aligned else "left"
        return Text(text, style, justify=justify, no_wrap=True, overflow=self._overflow, end="")


def _fit(column: RankedColumn, width: int) -> FittedColumn:
    return FittedColumn(column.label, width, column.is_right_aligned)
