"""A raster of pixels smaller than a cell: 2 × 4 braille dots, or 1 × 3 positions of ASCII characters."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Charset(NamedTuple):
    """The pixels of a cell, and the character for each combination of them."""

    across: int
    down: int
    bits: tuple[tuple[int, ...], ...]  # by column, then row
    glyphs: str  # by the sum of bits


BRAILLE = Charset(
    2, 4, ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)), "".join(chr(0x2800 + bits) for bits in range(256))
)
ASCII = Charset(1, 3, ((1, 2, 4),), " '-'.:.|")


class Raster:
    """Pixels on an area of cells. Only cells with pixels are stored; pixels outside are ignored."""

    def __init__(self, charset: Charset, columns: int, rows: int) -> None:
        self.charset = charset
        self.columns, self.rows = columns, rows
        self.width, self.height = columns * charset.across, rows * charset.down
        self.cells: dict[int, int] = {}  # row * columns + column -> bits
        self._runs = [
            [_stroke_bits(column, first, charset.down) for first in range(charset.down)] for column in charset.bits
        ]

    def set_pixel(self, x: int, y: int) -> None:
        self.stroke(x, y, y)

    def stroke(self, x: int, top: int, bottom: int) -> None:
        """Set the pixels of a column from top to bottom, both included."""
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
        """Draw a straight line as one vertical stroke per column."""
        if x1 < x0:
            x0, y0, x1, y1 = x1, y1, x0, y0
        if x0 == x1:
            self.stroke(x0, min(y0, y1), max(y0, y1))
            return
        sign = 1 if y1 >= y0 else -1
        slope = abs(y1 - y0) / (x1 - x0)
        for x in range(max(x0, 0), min(x1, self.width - 1) + 1):
            first = last = math.floor(slope * (x - x0) + 0.5)
            if slope > 1:  # each pixel row belongs to the nearest column
                first = math.ceil(slope * (x - x0 - 0.5)) if x > x0 else 0
                last = math.ceil(slope * (x - x0 + 0.5)) - 1 if x < x1 else abs(y1 - y0)
            self.stroke(x, min(y0 + sign * first, y0 + sign * last), max(y0 + sign * first, y0 + sign * last))

    def glyphs(self) -> Iterable[tuple[int, int, str]]:
        """Yield column, row and character of every cell with pixels."""
        glyphs = self.charset.glyphs
        for cell, bits in self.cells.items():
            row, column = divmod(cell, self.columns)
            yield column, row, glyphs[bits]


def _stroke_bits(bits: tuple[int, ...], first: int, down: int) -> list[int]:
    """Return the bits from pixel `first` of a cell's column to each one below it; 0 for those above."""
    return [sum(bits[first : last + 1]) for last in range(down)]
