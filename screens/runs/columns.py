"""The table's columns, declared once: what each tells and sorts by, and which give way on a narrow terminal."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from engines.output.units import format_age
from screens.runs.row import Row
from screens.shared.formatting import (
    format_count,
    format_decimal,
    format_guard_glyph,
    format_sparkline,
    format_state,
    format_text,
)

PADDING = 1  # cells beside each column
_YIELD_EVERY = 8  # rows after which a thread yields to others
_MOST = 24  # cells of a column: a longer id ends with dots


@dataclasses.dataclass(frozen=True)
class Column:
    """`rank`: columns with a low one stay longest. `order`: what to sort by; None comes last either way."""

    name: str
    label: str
    rank: float
    text: Callable[[Row, bool], str]  # of a row, in ASCII or not
    order: Callable[[Row], Any] | None = None
    falling: bool = False  # the first look is at the greatest
    right: bool = False
    least: int = 0  # cells, whatever is in it
    optional: bool = False  # left out where it is empty in every row


def guard_words(row: Row, ascii: bool) -> str:
    return " ".join(f"{format_guard_glyph(action, ascii)}{count}" for action, count in row.guards) or "–"


def _steps(row: Row, _: bool) -> str:
    goal = "?" if row.steps is None else f"{row.steps:,}"
    return f"{row.step:>{len(goal)},}/{goal}"  # as wide at the first step as at the last


def _state(row: Row, ascii: bool) -> str:
    return f"{format_state(row.watch, ascii)[0]} {row.state}{' !' if row.problem else ''}"


COLUMNS: tuple[Column, ...] = (
    Column("state", "state", 1, _state, lambda row: row.state, least=10),
    Column("run", "run", 0, lambda row, _: row.run.id, lambda row: row.run.id),
    Column("elsewhere", "results directory", 1.2, lambda row, _: row.elsewhere, optional=True),
    Column("engine", "engine", 6, lambda row, _: row.engine, lambda row: row.engine),
    Column("kind", "model", 5, lambda row, _: row.kind, lambda row: row.kind),
    Column("corpus", "corpus", 9, lambda row, _: row.corpus, lambda row: row.corpus),
    Column("step", "step", 3, _steps, lambda row: row.step, falling=True, right=True),
    Column("bpb", "best bpb", 2, lambda row, _: format_decimal(row.best_bpb), lambda row: row.best_bpb, right=True),
    Column("speed", "tok/s", 7, lambda row, _: format_count(row.tokens_per_second),
           lambda row: row.tokens_per_second, falling=True, right=True, least=5),
    Column("age", "age", 8, lambda row, _: format_age(row.created_at), lambda row: row.created_at, falling=True,
           right=True, least=4),
    Column("guards", "guards", 4, guard_words, lambda row: row.guard_count, falling=True),
    Column("trend", "loss", 6, lambda row, ascii: format_sparkline(list(row.trend), ascii), least=12),
)  # fmt: skip
SLIM = Column("slim", "run", 0, lambda row, ascii: f"{format_state(row.watch, ascii)[0]} {row.run.id}")
BY_NAME = {column.name: column for column in (*COLUMNS, SLIM)}
SORTED_BY = tuple(column.name for column in COLUMNS if column.order)
AGE = FIRST_SORT = "age"


def fitting(widths: Mapping[str, int], room: int, sort: str) -> dict[str, int]:
    """The columns that fit into so many cells, with their widths: the most telling ones, in their usual order.

    An order that somebody has asked for is seen. Where not even id and state fit, there is one slim column of both.
    """

    def rank(column: Column) -> float:
        return 1.5 if column.name == sort != FIRST_SORT else column.rank

    left, chosen = room, set()
    for column in sorted((column for column in COLUMNS if widths[column.name]), key=rank):
        left -= widths[column.name] + 2 * PADDING
        if left < 0:
            break
        chosen.add(column.name)
    if not {"run", "state"} <= chosen:
        return {SLIM.name: max(1, room + 2 * PADDING)}  # the slim one goes without padding, and so does the mark
    return {column.name: widths[column.name] for column in COLUMNS if column.name in chosen}


def told(column: Column, row: Row, ascii: bool) -> str:
    return format_text(column.text(row, ascii), ascii)


def texts_of(row: Row, ascii: bool) -> Mapping[str, str]:
    """Return the texts of a row's cells by column name, formatted once: only the age changes by itself."""
    if not row.texts:
        row.texts.update((column.name, told(column, row, ascii)) for column in BY_NAME.values())
    return row.texts


def longest_of(rows: Iterable[Row], ascii: bool) -> dict[str, int]:
    """Return the width of the longest text of each column. Formats all texts, so it runs in a thread."""
    longest = dict.fromkeys(BY_NAME, 0)
    for number, row in enumerate(rows):
        for name, text in texts_of(row, ascii).items():
            width = len(text) if text.isascii() else cell_len(text)
            if width > longest[name]:
                longest[name] = width
        if number % _YIELD_EVERY == 0:
            time.sleep(0)
    return longest


def width_of(column: Column, longest: int, sorts: bool) -> int:
    """Return the width for the longest text and the label, with an arrow if the table is sorted by it.

    0 leaves the column out.
    """
    if column.optional and not longest:
        return 0
    return min(_MOST, max(column.least, len(column.label) + 2 * sorts, longest))


def in_order(rows: Sequence[Row], name: str, reverse: bool) -> list[Row]:
    """Sorted by a column, the newest first among equals; where nothing is known, at the end."""
    order = BY_NAME[name].order
    assert order
    newest_first = sorted(rows, key=lambda row: row.created_at or 0.0, reverse=True)
    known = [row for row in newest_first if order(row) is not None]
    known.sort(key=order, reverse=BY_NAME[name].falling != reverse)
    return known + [row for row in newest_first if order(row) is None]
