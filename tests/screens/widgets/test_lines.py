"""Lines of text: cut off at the edge, and only those that changed are painted again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from rich.text import Text
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot

from screens.widgets.lines import Lines


class LinesApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Lines()


Scenario = Callable[[Lines, list[int], Pilot[None]], Awaitable[None]]


def play(scenario: Scenario) -> None:
    """The second argument fills with the lines that were asked to be painted."""

    async def run() -> None:
        app = LinesApp()
        async with app.run_test(size=(20, 6)) as pilot:
            lines, painted = app.query_one(Lines), []
            refresh = lines.refresh

            def note(*regions: Region, **more: Any) -> Lines:
                painted.extend(region.y for region in regions)
                return refresh(*regions, **more)

            lines.refresh = note  # type: ignore[method-assign]
            await scenario(lines, painted, pilot)

    asyncio.run(run())


def texts(*lines: str) -> list[Text]:
    return [Text(line) for line in lines]


def seen(lines: Lines) -> list[str]:
    return [lines.render_line(y).text.rstrip() for y in range(lines.size.height)]


def test_each_text_has_a_line_and_the_rest_is_blank() -> None:
    async def scenario(lines: Lines, painted: list[int], pilot: Pilot[None]) -> None:
        lines.show(texts("one", "two"))
        await pilot.pause()
        assert seen(lines) == ["one", "two", "", "", "", ""] and lines.text == "one\ntwo"
        assert all(lines.render_line(y).cell_length == 20 for y in range(6))

    play(scenario)


def test_only_what_changed_is_painted_again() -> None:
    async def scenario(lines: Lines, painted: list[int], pilot: Pilot[None]) -> None:
        lines.show(texts("one", "two", "three"))
        painted.clear()
        lines.show(texts("one", "2", "three"))
        assert painted == [1]
        painted.clear()
        lines.show(texts("one", "2", "three"))
        assert painted == []

    play(scenario)


def test_lines_that_come_and_go_are_painted() -> None:
    async def scenario(lines: Lines, painted: list[int], pilot: Pilot[None]) -> None:
        lines.show(texts("one", "two", "three"))
        painted.clear()
        lines.show(texts("one"))
        assert sorted(painted) == [1, 2] and seen(lines)[:3] == ["one", "", ""]
        painted.clear()
        lines.show(texts("one", "again"))
        assert painted == [1]

    play(scenario)


def test_a_change_of_style_alone_is_a_change() -> None:
    async def scenario(lines: Lines, painted: list[int], pilot: Pilot[None]) -> None:
        lines.show([Text("one")])
        painted.clear()
        lines.show([Text().append("one", "bold")])
        assert painted == [0]

    play(scenario)


def test_what_is_too_long_ends_in_an_ellipsis_and_wide_letters_fit() -> None:
    async def scenario(lines: Lines, painted: list[int], pilot: Pilot[None]) -> None:
        lines.show(texts("x" * 30, "語" * 15))
        assert seen(lines)[0] == "x" * 19 + "…"
        assert lines.render_line(1).cell_length == 20

    play(scenario)
