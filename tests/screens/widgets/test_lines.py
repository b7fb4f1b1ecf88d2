"""Lines of text: cut at the edge, and only changed lines are repainted."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

from rich.text import Text
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot

from screens.widgets.lines import Lines


class RecordingLines(Lines):
    """Lines that record which of them are repainted."""

    def __init__(self) -> None:
        self.painted: list[int] = []  # numbers of lines
        super().__init__()

    def refresh(self, *regions: Region, **options: Any) -> Self:
        self.painted.extend(region.y for region in regions)
        return super().refresh(*regions, **options)


class LinesApp(App[None]):
    def compose(self) -> ComposeResult:
        yield RecordingLines()


@contextlib.asynccontextmanager
async def open_lines() -> AsyncIterator[tuple[RecordingLines, Pilot[None]]]:
    """Open an app with nothing but `RecordingLines`."""
    app = LinesApp()
    async with app.run_test(size=(20, 6)) as pilot:
        yield app.query_one(RecordingLines), pilot


def texts(*lines: str) -> list[Text]:
    return [Text(line) for line in lines]


def text_lines(lines: Lines) -> list[str]:
    return [lines.render_line(y).text.rstrip() for y in range(lines.size.height)]


async def test_each_text_has_a_line_and_the_other_lines_are_blank() -> None:
    async with open_lines() as (lines, pilot):
        lines.show(texts("one", "two"))
        await pilot.pause()
        assert text_lines(lines) == ["one", "two", "", "", "", ""] and lines.text == "one\ntwo"
        assert all(lines.render_line(y).cell_length == 20 for y in range(6))


async def test_only_changed_lines_are_repainted() -> None:
    async with open_lines() as (lines, _):
        lines.show(texts("one", "two", "three"))
        lines.painted.clear()
        lines.show(texts("one", "2", "three"))
        assert lines.painted == [1]
        lines.painted.clear()
        lines.show(texts("one", "2", "three"))
        assert lines.painted == []


async def test_added_and_removed_lines_are_repainted() -> None:
    async with open_lines() as (lines, _):
        lines.show(texts("one", "two", "three"))
        lines.painted.clear()
        lines.show(texts("one"))
        assert sorted(lines.painted) == [1, 2] and text_lines(lines)[:3] == ["one", "", ""]
        lines.painted.clear()
        lines.show(texts("one", "again"))
        assert lines.painted == [1]


async def test_a_line_whose_style_changed_is_repainted() -> None:
    async with open_lines() as (lines, _):
        lines.show([Text("one")])
        lines.painted.clear()
        lines.show([Text().append("one", "bold")])
        assert lines.painted == [0]


async def test_long_lines_end_in_an_ellipsis_and_wide_characters_fit() -> None:
    async with open_lines() as (lines, _):
        lines.show(texts("x" * 30, "語" * 15))
        assert text_lines(lines)[0] == "x" * 19 + "…"
        assert lines.render_line(1).cell_length == 20
