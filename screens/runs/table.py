"""The table of runs: only cells that have changed are touched, and cursor, scroll and marks outlive every refresh."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.theme import Theme
from textual.widgets import DataTable

from screens.runs import columns
from screens.runs.columns import BY_NAME, COLUMNS, PADDING, SLIM, Column
from screens.runs.marks import MOST
from screens.runs.row import Row

_MARK = "mark"
_FAILED = ("crashed", "killed", "halted", "stuck")
_OF_STATE = ("state", SLIM.name)  # columns in the colour of the state
_SCROLLBAR = 1
_LOW = 3  # lines: too few to spend one on labels


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
        self._texts: dict[str, dict[str, str]] = {}  # what each cell of each row says, shown or not
        self._widths: dict[str, int] = {}
        self._layout: tuple[dict[str, int], str] = ({}, "")  # columns with their widths, and what it is sorted by
        self._sort = ("", False)

    # --- what is shown ----------------------------------------------------------------------------

    @property
    def row_at_cursor(self) -> Row | None:
        return list(self._rows.values())[self.cursor_row] if 0 <= self.cursor_row < len(self._rows) else None

    @property
    def shown_columns(self) -> list[str]:
        return list(self._layout[0])

    def show(self, rows: Sequence[Row], marks: Mapping[str, int], sort: tuple[str, bool]) -> None:
        """`marks`: the number of each marked row; `sort`: the column that orders, and whether it is turned round."""
        before, known_marks = self._texts, self._marks
        known_states = {key: row.state for key, row in self._rows.items()}
        self._rows = {row.key: row for row in rows}
        self._marks, self._sort = dict(marks), sort
        self._texts = self._read_texts()
        self._measure()
        if self._arrange():
            return
        for key, texts in self._texts.items():
            same_state = known_states[key] == self._rows[key].state
            for name in self.shown_columns:
                if texts[name] != before[key][name] or (name in _OF_STATE and not same_state):
                    self.update_cell(key, name, self._cell(BY_NAME[name], key))
            if known_marks.get(key) != self._marks.get(key):
                self.update_cell(key, _MARK, self._mark(key))

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

    def _read_texts(self) -> dict[str, dict[str, str]]:
        return {
            key: {column.name: columns.told(column, row, self._ascii) for column in BY_NAME.values()}
            for key, row in self._rows.items()
        }

    def _measure(self) -> None:
        for column in COLUMNS:
            texts = [row[column.name] for row in self._texts.values()]
            self._widths[column.name] = columns.width_of(column, texts, sorts=column.name == self._sort[0])

    def _arrange(self) -> bool:
        """Build anew if other columns fit by now or the rows are not the same; else only put them in their order."""
        chosen = self._layout[0]  # while it is hidden it has no size, and keeps its columns
        if self._widths and self.size.width:
            room = self.size.width - _SCROLLBAR - (1 + 2 * PADDING)
            chosen = columns.fitting(self._widths, room, self._sort[0])
        if not chosen:
            return True
        layout = (chosen, self._sort_label())
        shown = [str(key.value) for key in self.rows]
        if layout != self._layout or set(shown) != set(self._rows):
            self._layout = layout
            self._rebuild()
            return True
        if [str(row.key.value) for row in self.ordered_rows] != list(self._rows):
            self._reorder()
        return False

    def _reorder(self) -> None:
        at = self._key_at_cursor()
        places = {id(self.get_cell(key, _MARK)): place for place, key in enumerate(self._rows)}
        with self.prevent(DataTable.RowHighlighted):
            self.sort(_MARK, key=lambda cell: places[id(cell)])
            self.move_cursor(row=list(self._rows).index(at))

    def _rebuild(self) -> None:
        """All rows anew; the cursor stays on its run, and that on its line."""
        at, index, scroll = self._key_at_cursor(), self.cursor_row, self.scroll_offset.y
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            self.cell_padding = 0 if SLIM.name in self._layout[0] else PADDING
            self.add_column(Text(), width=1, key=_MARK)
            for name, width in self._layout[0].items():
                self.add_column(self._label(BY_NAME[name]), width=width, key=name)
            for key in self._rows:
                cells = [self._cell(BY_NAME[name], key) for name in self.shown_columns]
                self.add_row(self._mark(key), *cells, key=key)
        if not self._rows:
            return
        place = list(self._rows).index(at) if at in self._rows else min(index, len(self._rows) - 1)
        self.move_cursor(row=place, scroll=False)
        self.call_after_refresh(self._scroll_back, max(0, scroll + (place - index if at in self._rows else 0)))

    def _scroll_back(self, y: int) -> None:
        self.scroll_to(y=y, animate=False, immediate=True)

    def _key_at_cursor(self) -> str:
        if not 0 <= self.cursor_row < len(self.rows):
            return ""
        return str(self.ordered_rows[self.cursor_row].key.value)

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

    def _cell(self, column: Column, key: str) -> Text:
        style = self._state_style(self._rows[key]) if column.name in _OF_STATE else Style()
        text = self._texts[key][column.name]
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
