"""Dots are rendered as the expected characters."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.chart.raster import ASCII, BRAILLE, Charset, Raster


def draw(raster: Raster) -> list[str]:
    rows = [[" "] * raster.columns for _ in range(raster.rows)]
    for column, row, glyph in raster.glyphs():
        rows[row][column] = glyph
    return ["".join(row) for row in rows]


def test_a_falling_line_in_braille() -> None:
    raster = Raster(BRAILLE, 4, 2)
    raster.line(0, 0, 7, 7)
    assert draw(raster) == ["⠑⢄  ", "  ⠑⢄"]


def test_a_steep_line_has_no_holes() -> None:
    raster = Raster(BRAILLE, 1, 3)
    raster.line(0, 0, 1, 11)
    assert draw(raster) == ["⡇", "⢣", "⢸"]


def test_a_line_in_ascii_shows_the_height_within_a_cell() -> None:
    raster = Raster(ASCII, 5, 1)
    for x, y in enumerate((0, 1, 2)):
        raster.set_pixel(x, y)
    raster.stroke(3, 0, 2)
    assert draw(raster) == ["'-.| "]


def test_a_vertical_stroke_over_several_cells() -> None:
    raster = Raster(BRAILLE, 1, 3)
    raster.stroke(1, 2, 9)
    assert draw(raster) == ["⢠", "⢸", "⠘"]


@pytest.mark.parametrize("charset", [BRAILLE, ASCII])
@given(points=st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=6))
def test_nothing_is_drawn_outside_the_raster(charset: Charset, points: list[tuple[int, int]]) -> None:
    raster = Raster(charset, 5, 3)
    for (x0, y0), (x1, y1) in pairwise(points):
        raster.line(x0, y0, x1, y1)
    assert all(0 <= column < 5 and 0 <= row < 3 for column, row, _ in raster.glyphs())


@given(st.integers(0, 19), st.integers(0, 19), st.integers(0, 19), st.integers(0, 19))
def test_a_line_includes_both_of_its_ends(x0: int, y0: int, x1: int, y1: int) -> None:
    line, ends = Raster(BRAILLE, 10, 5), Raster(BRAILLE, 10, 5)
    line.line(x0, y0, x1, y1)
    ends.set_pixel(x0, y0)
    ends.set_pixel(x1, y1)
    assert all(line.cells.get(cell, 0) & bits == bits for cell, bits in ends.cells.items())
