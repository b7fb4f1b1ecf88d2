"""Dots finer than a cell: braille, two by four in each, or ASCII, one by three."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Charset(NamedTuple):
    """How a cell is divided, and the character for each set of dots in it."""

    across: int
    down: int
    bits: tuple[tuple[int, ...], ...]  # by column, then row
    glyphs: str  # by the sum of bits


BRAILLE = Charset(
    2, 4, ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)), "".join(chr(0x2800 + bits) for bits in range(256))
)
ASCII = Charset(1, 3, ((1, 2, 4),), " '-'.:.|")


class Raster:
    """Dots on an area of cells. Only cells that have any are kept; what lies outside is left out."""

    def __init__(self, charset: Charset, columns: int, rows: int) -> None:
        self.charset = charset
        self.columns, self.rows = columns, rows
        self.width, self.height = columns * charset.across, rows * charset.down
        self.cells: dict[int, int] = {}  # row * columns + column -> bits
        self._runs = [[_run(column, first, charset.down) for first in range(charset.down)] for column in charset.bits]

    def dot(self, x: int, y: int) -> None:
        self.upright(x, y, y)

    def upright(self, x: int, top: int, bottom: int) -> None:
        """A vertical stroke from one dot to another, both included."""
        if not 0 <= x < self.width or bottom < 0 or top >= self.height:
            return
        top, bottom = max(0, top), min(self.height - 1, bottom)
        down, cells, columns = self.charset.down, self.cells, self.columns
        runs = self._runs[x % self.charset.across]
        row, first = divmod(top, down)
        last_row, last = divmod(bottom, down)
        cell = row * columns + x // self.charset.across
        while row < last_row:
            cells[cell] = cells.get(cell, 0) | runs[first][down - 1]
            row, first, cell = row + 1, 0, cell + columns
        cells[cell] = cells.get(cell, 0) | runs[first][last]

    def line(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """A straight line, as one vertical stroke in each column."""
        if x1 < x0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if x0 == x1:
            self.upright(x0, min(y0, y1), max(y0, y1))
            return
        sign = 1 if y1 >= y0 else -1
        slope = abs(y1 - y0) / (x1 - x0)
        for x in range(max(x0, 0), min(x1, self.width - 1) + 1):
            first = last = math.floor(slope * (x - x0) + 0.5)
            if slope > 1:  # each dot of the height stands in the column that is nearest to it
                first = math.ceil(slope * (x - x0 - 0.5)) if x > x0 else 0
                last = math.ceil(slope * (x - x0 + 0.5)) - 1 if x < x1 else abs(y1 - y0)
            self.upright(x, min(y0 + sign * first, y0 + sign * last), max(y0 + sign * first, y0 + sign * last))

    def glyphs(self) -> Iterable[tuple[int, int, str]]:
        """Column, row and character of every cell with a dot."""
        glyphs = self.charset.glyphs
        for cell, bits in self.cells.items():
            row, column = divmod(cell, self.columns)
            yield column, row, glyphs[bits]


def _run(bits: tuple[int, ...], first: int, down: int) -> list[int]:
    """The bits from dot `first` of a cell's column to each one below it; those above it have none."""
    return [sum(bits[first : last + 1]) for last in range(down)]
