"""The heat map: signs and magnitudes of values, nonfinite values, and the cursor."""

import contextlib
import math
from collections.abc import AsyncIterator

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from screens.themes import SERIES
from screens.widgets.heat_map import CELL, HeatMap

MATRIX = [[1.0, -1.0, 0.0], [0.5, -0.5, 0.1], [0.0, 0.0, -0.1]]


class HeatApp(App[None]):
    def __init__(self, ascii: bool) -> None:
        super().__init__()
        self._plain = ascii
        self.moves: list[tuple[tuple[int, int], float]] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return SERIES

    def compose(self) -> ComposeResult:
        yield HeatMap(self._plain)

    def on_heat_map_moved(self, message: HeatMap.Moved) -> None:
        assert message.control is message.heat_map
        self.moves.append((message.index, message.value))


@contextlib.asynccontextmanager
async def open_heat_map(
    ascii: bool = False, size: tuple[int, int] = (40, 10)
) -> AsyncIterator[tuple[HeatMap, Pilot[None]]]:
    app = HeatApp(ascii)
    async with app.run_test(size=size) as pilot:
        yield app.query_one(HeatMap), pilot


def line(heat: HeatMap, y: int) -> str:
    return heat.render_line(y).text.rstrip()


def cell_colour(heat: HeatMap, row: int, column: int) -> tuple[int, int, int]:
    """Return the colour of a cell."""
    segments = [segment for segment in heat.render_line(row) if segment.style and segment.style.bgcolor]
    triplet = segments[column].style.bgcolor.triplet  # type: ignore[union-attr]
    assert triplet
    return tuple(triplet)  # type: ignore[return-value]


async def test_without_colours_sign_and_magnitude_are_characters() -> None:
    async with open_heat_map(ascii=True) as (heat, pilot):
        heat.show(MATRIX, ["a", "bb", "c"])
        await pilot.pause()
        assert line(heat, 0) == "a  +@-@"
        assert line(heat, 1) == "bb +=-=+." and line(heat, 2) == "c      -."


async def test_no_color_shows_characters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_heat_map() as (heat, _):
        heat.show(MATRIX)
        assert line(heat, 0) == "+@-@"


async def test_larger_values_have_colours_further_from_that_of_zero() -> None:
    async with open_heat_map() as (heat, pilot):
        heat.show([[0.0, 0.3, 0.6, 1.0, -0.3, -0.6, -1.0]])
        await pilot.pause()
        zero = cell_colour(heat, 0, 0)
        distances = [math.dist(zero, cell_colour(heat, 0, column)) for column in range(7)]
        assert distances[0] == 0 < distances[1] < distances[2] < distances[3]
        assert 0 < distances[4] < distances[5] < distances[6]
        assert cell_colour(heat, 0, 3) != cell_colour(heat, 0, 6)


async def test_nonfinite_values_are_marked_and_do_not_fade_the_others() -> None:
    async with open_heat_map(ascii=True) as (heat, _):
        heat.show([[math.nan, math.inf, 1e-9, -math.inf]])
        assert line(heat, 0) == "!!!!+@!!"


@pytest.mark.parametrize("matrix", [[], [[]], [[0.0]], [[math.nan]], [[1.0], [1.0, 2.0, 3.0], []]])
async def test_empty_and_ragged_matrices_are_shown(matrix: list[list[float]]) -> None:
    async with open_heat_map() as (heat, pilot):
        heat.focus()
        heat.show(matrix)
        await pilot.press("down", "right", "right", "down", "up", "left")
        heat.show(MATRIX)
        heat.show(matrix)
        await pilot.pause()


async def test_the_cursor_stays_within_the_matrix_and_reports_its_position() -> None:
    async with open_heat_map() as (heat, pilot):
        heat.focus()
        heat.show(MATRIX)
        await pilot.press("right", "down", "right", "right", "down", "down", "left", "up")
        places = [((0, 1), -1.0), ((1, 1), -0.5), ((1, 2), 0.1), ((2, 2), -0.1), ((2, 1), 0.0), ((1, 1), -0.5)]
        assert heat.app.moves == places  # type: ignore[attr-defined]


async def test_a_click_moves_the_cursor_to_the_value_under_it() -> None:
    async with open_heat_map() as (heat, pilot):
        heat.show(MATRIX, ["a", "b", "c"])
        await pilot.pause()
        await pilot.click(HeatMap, offset=(2 + CELL + 1, 2))
        assert heat.cursor == (2, 1)
        await pilot.click(HeatMap, offset=(39, 9))  # no value here
        assert heat.cursor == (2, 1)


async def test_the_cursor_is_scrolled_into_view() -> None:
    async with open_heat_map() as (heat, pilot):
        heat.focus()
        heat.show([[float(row * column) for column in range(60)] for row in range(40)])
        await pilot.pause()
        heat.cursor = (39, 59)
        await pilot.pause()
        left, top = heat.scroll_offset
        assert top <= 39 < top + heat.scrollable_content_region.height
        assert left <= 59 * CELL and left + heat.scrollable_content_region.width >= 60 * CELL


async def test_a_smaller_matrix_keeps_the_cursor_inside() -> None:
    async with open_heat_map() as (heat, _):
        heat.show(MATRIX)
        heat.cursor = (2, 2)
        heat.show([[1.0]])
        assert heat.cursor == (0, 0)


async def test_a_click_finds_its_value_inside_border_padding_and_wide_labels() -> None:
    async with open_heat_map() as (heat, pilot):
        heat.styles.border, heat.styles.padding = ("round", "white"), (1, 3)
        heat.show(MATRIX, ["a", "日本", "c"])
        await pilot.pause()
        margin = 4 + 1  # cells of the widest label, and a space
        for row in range(3):
            for column in range(3):
                for cell in range(CELL):
                    heat.cursor = (0, 0) if (row, column) != (0, 0) else (2, 2)
                    await pilot.click(HeatMap, offset=(1 + 3 + margin + CELL * column + cell, 1 + 1 + row))
                    assert heat.cursor == (row, column), cell


async def test_a_click_outside_the_values_changes_nothing() -> None:
    async with open_heat_map() as (heat, pilot):
        heat.styles.border = ("round", "white")
        heat.show([[1.0, 2.0], [3.0]], ["a", "b"])
        await pilot.pause()
        heat.cursor = (0, 1)
        for offset in [(0, 0), (5, 0), (39, 9), (30, 2), (1 + 2 + CELL, 2), (3, 7)]:
            await pilot.click(HeatMap, offset=offset)
            assert heat.cursor == (0, 1), offset


async def test_wide_labels_keep_all_values_in_their_columns() -> None:
    async with open_heat_map() as (heat, pilot):
        heat.show([[1.0]] * 3, ["a", "日本", "👍"])
        await pilot.pause()
        for y in range(3):
            cells = 0
            for segment in heat.render_line(y):
                if segment.style and segment.style.bgcolor and segment.text in ("  ", "[]"):
                    break
                cells += segment.cell_length
            assert cells == 5
