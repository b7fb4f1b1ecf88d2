"""The columns of the table of runs: what each shows, what it sorts by, and its rank on narrow terminals."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from engines.output.units import format_age
from screens.runs.rows import RunRow
from screens.shared.formatting import (
    format_count,
    format_decimal,
    format_guard_glyph,
    format_sparkline,
    format_state_glyph,
    format_text,
)
from screens.shared.table import SortOrder, TableCell, TableColumn

_YIELD_EVERY = 8  # rows after which a thread yields to others
_MAX_WIDTH = 24  # cells: a longer id is cut
_FAILED = ("crashed", "killed", "halted", "stuck")
AGE = DEFAULT_SORT = "age"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunColumn(TableColumn):
    """A column with its text (of a row, in ASCII or not) and the value to sort by; None is sorted last."""

    text: Callable[[RunRow, bool], str]
    sort_key: Callable[[RunRow], Any] | None = None
    is_descending: bool = False  # at first, before the order is reversed
    max_width: int = _MAX_WIDTH


def _format_guards(row: RunRow, ascii: bool) -> str:
    return " ".join(f"{format_guard_glyph(action, ascii)}{count}" for action, count in row.guards) or "–"


def _format_steps(row: RunRow, _: bool) -> str:
    goal = "?" if row.steps is None else f"{row.steps:,}"
    return f"{row.step:>{len(goal)},}/{goal}"  # as wide at the first step as at the last


def _format_state(row: RunRow, ascii: bool) -> str:
    return f"{format_state_glyph(row.watch, ascii)} {row.state}{' !' if row.problem else ''}"


def _format_trend(row: RunRow, ascii: bool) -> str:
    return format_sparkline(row.trend, ascii)


COLUMNS: tuple[RunColumn, ...] = (
    RunColumn("state", "state", 1, min_width=10, text=_format_state, sort_key=lambda row: row.state),
    RunColumn("run", "run", 0, text=lambda row, _: row.run.id, sort_key=lambda row: row.run.id),
    RunColumn("elsewhere", "results directory", 1.2, is_optional=True, text=lambda row, _: row.elsewhere),
    RunColumn("engine", "engine", 6, text=lambda row, _: row.engine, sort_key=lambda row: row.engine),
    RunColumn("kind", "model", 5, text=lambda row, _: row.kind, sort_key=lambda row: row.kind),
    RunColumn("corpus", "corpus", 9, text=lambda row, _: row.corpus, sort_key=lambda row: row.corpus),
    RunColumn("step", "step", 3, True, text=_format_steps, sort_key=lambda row: row.step, is_descending=True),
    RunColumn("bpb", "best bpb", 2, True, text=lambda row, _: format_decimal(row.best_bpb),
              sort_key=lambda row: row.best_bpb),
    RunColumn("speed", "tok/s", 7, True, 5, text=lambda row, _: format_count(row.tokens_per_second),
              sort_key=lambda row: row.tokens_per_second, is_descending=True),
    RunColumn("age", "age", 8, True, 4, text=lambda row, _: format_age(row.created_at),
              sort_key=lambda row: row.created_at, is_descending=True),
    RunColumn("guards", "guards", 4, text=_format_guards, sort_key=lambda row: row.guard_count, is_descending=True),
    RunColumn("trend", "loss", 6, min_width=12, text=_format_trend),
)  # fmt: skip
NARROW = RunColumn("narrow", "run", 0, text=lambda row, ascii: f"{format_state_glyph(row.watch, ascii)} {row.run.id}")
BY_NAME = {column.name: column for column in (*COLUMNS, NARROW)}
SORTABLE = tuple(column.name for column in COLUMNS if column.sort_key)
_COLOURED = ("state", NARROW.name)  # columns in the colour of the state


def format_cell(column: RunColumn, row: RunRow, ascii: bool) -> str:
    return format_text(column.text(row, ascii), ascii)


def format_row(row: RunRow, ascii: bool) -> Mapping[str, TableCell]:
    """Return the cells of a row, formatted on the first call: only the age changes by itself."""
    if not row.cells:
        style = "failed" if row.problem or row.state in _FAILED else "active" if row.is_live else ""
        for column in BY_NAME.values():
            row.cells[column.name] = TableCell(
                format_cell(column, row, ascii), style if column.name in _COLOURED else ""
            )
    return row.cells


def measure_texts(rows: Iterable[RunRow], ascii: bool) -> dict[str, int]:
    """Return the width of the longest text of each column. Formats all texts, so it runs in a thread."""
    longest = dict.fromkeys(BY_NAME, 0)
    for number, row in enumerate(rows):
        for name, (text, _) in format_row(row, ascii).items():
            width = len(text) if text.isascii() else cell_len(text)
            if width > longest[name]:
                longest[name] = width
        if number % _YIELD_EVERY == 0:
            time.sleep(0)
    return longest


def sort_rows(rows: Sequence[RunRow], name: str, is_reversed: bool) -> list[RunRow]:
    """Return the rows sorted by a column, the newest first among equals; unknown values come last."""
    sort_key = BY_NAME[name].sort_key
    assert sort_key
    newest_first = sorted(rows, key=lambda row: row.created_at or 0.0, reverse=True)
    known = [row for row in newest_first if sort_key(row) is not None]
    known.sort(key=sort_key, reverse=BY_NAME[name].is_descending != is_reversed)
    return known + [row for row in newest_first if sort_key(row) is None]


def make_sort_order(name: str, is_reversed: bool) -> SortOrder:
    """Return the order as the values of the column show it: ages are sorted by the time of creation."""
    is_descending = BY_NAME[name].is_descending != is_reversed
    return SortOrder(name, is_descending != (name == AGE), is_default=name == DEFAULT_SORT)
