"""The chart as a widget: it repaints only changed cells, at any size and in any theme."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chart_app import draw, fill, losses, open_chart, state
from rich.style import Style
from textual.geometry import Region
from textual.widget import Widget

from screens.chart import Chart
from screens.chart.canvas import StyleKey
from screens.chart.colours import style_of
from screens.chart.rendering import render_chart
from screens.themes import THEMES


def record_refreshes(chart: Chart, act: Callable[[], None]) -> list[Region] | None:
    """Return the regions that `act` refreshes; None if it refreshes whole widgets."""
    regions: list[Region] = []
    everything = []

    def spy_on(widget: Widget) -> None:
        def spy(*of: Region, **how: Any) -> Widget:
            everything.extend([widget] if not of else [])
            regions.extend(of)
            return type(widget).refresh(widget, *of, **how)

        widget.refresh = spy  # type: ignore[method-assign, assignment]

    for widget in (chart, *chart.children):
        spy_on(widget)
    act()
    for widget in (chart, *chart.children):
        del widget.refresh
    return None if everything else regions


def painted_rows(chart: Chart) -> list[str]:
    """Return the rows on the screen, as painted by all refreshes so far."""
    stripes = [stripe.render_lines(stripe.size.region) for stripe in chart.children]
    return ["".join(strip.text for strip in row).rstrip() for row in zip(*stripes, strict=True)]


async def test_new_steps_repaint_only_their_cells() -> None:
    async with open_chart((120, 40)) as (_, chart):
        fill(chart, 2_000)
        chart.data.extend_line("loss", 2_001, losses(2_010)[-10:])
        regions = record_refreshes(chart, lambda: draw(chart))
        assert regions
        assert sum(region.area for region in regions) < 100
        assert record_refreshes(chart, lambda: draw(chart)) == []


async def test_several_redraws_in_one_frame_are_one_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        drawn = []
        monkeypatch.setattr("screens.chart.widget.render_chart", lambda *of: drawn.append(of) or render_chart(*of))
        for _ in range(8):
            chart.redraw()
        await pilot.pause()
        assert len(drawn) == 1


async def test_partial_refreshes_show_the_same_as_a_full_drawing() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart, 500)
        for first in range(501, 900, 20):
            chart.data.extend_line("loss", first, losses(first + 19)[-20:])
            chart.redraw()
            await pilot.pause()
            assert painted_rows(chart) == chart.text.split("\n")


async def test_the_chart_is_drawn_at_any_size() -> None:
    async with open_chart((1, 1)) as (pilot, chart):
        fill(chart)
        chart.data.marks.add(500, "error", "nonfinite")
        await pilot.press("c")
        for width, height in ((1, 1), (2, 3), (3, 2), (5, 5), (20, 5), (12, 40), (200, 3), (200, 60), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.press("plus", "left", "0")
            assert len(chart.text.split("\n")) <= max(1, height)
            await pilot.pause()
            if min(chart.size) >= 8:
                assert painted_rows(chart) == chart.text.split("\n")


async def test_truncating_one_group_keeps_the_others_and_the_marks() -> None:
    async with open_chart() as (pilot, chart):
        for name in ("one", "two"):
            chart.data.add_line(name, name, group=name)
            chart.data.extend_line(name, 1, [2.0] * 100)
        chart.redraw()
        chart.data.marks.add(80, "error", "nonfinite", "one")
        await pilot.press("c")
        chart.data.truncate(50, "one")
        chart.redraw()
        assert "one  " in chart.text
        assert "two 2.0000" in chart.text
        assert "nonfinite" in chart.text
        chart.data.truncate(0)
        chart.redraw()
        assert "no losses yet" in chart.text


async def test_clearing_removes_the_data_and_keeps_log_scale_and_smoothing() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press("y", "s", "plus")
        chart.clear()
        assert "no losses yet" in chart.text
        assert "log y" in state(chart)
        assert "smooth .98" in state(chart)
        assert "zoomed" not in state(chart)


async def test_lines_have_the_colours_of_the_theme() -> None:
    async with open_chart() as (pilot, chart):
        for theme in THEMES:
            pilot.app.register_theme(theme)
        fill(chart)
        for theme in THEMES:
            pilot.app.theme = theme.name
            await pilot.pause()
            strips = [chart.strip(y) for y in range(chart.size.height)]
            colours = {segment.style.color.name for strip in strips for segment in strip if segment.style}  # type: ignore[union-attr]
            assert theme.variables["series-1"] in colours


async def test_a_theme_without_colours_of_series_gets_default_ones() -> None:
    async with open_chart() as (pilot, chart):
        pilot.app.theme = "textual-dark"
        colours = {style_of(StyleKey("line", f"series-{number}"), chart).color for number in range(1, 9)}
        assert len(colours) == 8
        assert style_of(StyleKey("line", "#ff0000"), chart).color == Style(color="#ff0000").color


@pytest.mark.parametrize("no_color", [False, True])
async def test_raw_and_smoothed_lines_differ_in_more_than_colour(
    no_color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    async with open_chart() as (pilot, chart):
        assert pilot.app.no_color is no_color
        fill(chart)
        strips = [chart.strip(y) for y in range(2, 15)]
        braille = [segment for strip in strips for segment in strip if any(mark > "⠀" for mark in segment.text)]
        assert {bool(segment.style and segment.style.bold) for segment in braille} == {False, True}


async def test_ascii_mode_uses_only_ascii() -> None:
    async with open_chart(ascii=True) as (pilot, chart):
        fill(chart)
        await pilot.press("c", "plus")
        assert chart.text.isascii()
        assert state(chart).isascii()


def test_the_chart_does_not_depend_on_runs() -> None:
    for path in (Path(__file__).parents[3] / "screens" / "chart").glob("*.py"):
        text = path.read_text().replace("from engines.output.ticks import", "")  # pure arithmetic
        assert "engines" not in text, path
