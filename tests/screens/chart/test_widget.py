"""The chart in a terminal: every key does what it says or says why not, and only what changed is sent."""

import contextlib
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from app_pilot import mouse_event
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.events import MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget

from screens.chart import Chart, XAxis
from screens.chart.canvas import StyleKey
from screens.chart.colours import style_of
from screens.chart.rendering import render_chart
from screens.themes import THEMES

RUN_AXES = (XAxis("tokens"), XAxis("time", is_time=True))


class ChartApp(App[None]):
    """A chart in a border, and the toasts that were shown."""

    CSS = "Chart { border: round gray; }"

    def __init__(self, ascii: bool = False) -> None:
        super().__init__()
        self.toasts: list[str] = []
        self.chart = Chart(RUN_AXES, "no losses yet", id="chart", ascii=ascii)

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_mount(self) -> None:
        self.chart.focus()

    def notify(self, message: str, **_: Any) -> None:  # type: ignore[override]
        self.toasts.append(message)


@contextlib.asynccontextmanager
async def open_chart(size: tuple[int, int] = (80, 24), ascii: bool = False) -> AsyncIterator[tuple[Pilot[None], Chart]]:
    app = ChartApp(ascii)
    async with app.run_test(size=size) as pilot:
        yield pilot, app.chart


def draw(chart: Chart) -> str:
    """Draw the data now, without waiting for the next frame."""
    chart.redraw()
    return chart.text


def losses(count: int) -> list[float]:
    return [2 + math.exp(-step / 200) + 0.1 * math.sin(step) for step in range(count)]


def fill(chart: Chart, count: int = 1_000) -> None:
    """A line with all that it may have."""
    chart.data.add_line("loss", "training")
    chart.data.add_dots("val", "validation")
    chart.data.add_level("guessing", "ln 29", math.log(29))
    chart.data.extend_line("loss", 1, losses(count))
    chart.data.add_dot("val", count // 2, 2.5)
    chart.data.set_axis_values("time", 1, (0.25 * step for step in range(1, count + 1)))
    chart.data.set_axis_values("tokens", 1, (512.0 * step for step in range(1, count + 1)))
    draw(chart)


def state(chart: Chart) -> str:
    return str(chart.border_subtitle)


def refreshed(chart: Chart, act: Callable[[], None]) -> list[Region] | None:
    """The regions that something lets be drawn anew; None where that is everything."""
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


async def turn_wheel(pilot: Pilot[None], event_type: type[Any]) -> None:
    pilot.app.post_message(mouse_event(pilot.app, event_type, 40, 10))
    await pilot.pause()


def on_screen(chart: Chart) -> list[str]:
    """The rows as Textual has them, put together from what was refreshed."""
    stripes = [stripe.render_lines(stripe.size.region) for stripe in chart.children]
    return ["".join(strip.text for strip in row).rstrip() for row in zip(*stripes, strict=True)]


async def test_an_empty_chart_says_so_and_so_does_every_key() -> None:
    async with open_chart() as (pilot, chart):
        assert "no losses yet" in chart.text
        for key in ("y", "x", "s", "f", "0", "plus", "minus", "left", "right", "c"):
            before = len(pilot.app.toasts)  # type: ignore[attr-defined]
            await pilot.press(key)
            assert len(pilot.app.toasts) == before + 1, key  # type: ignore[attr-defined]
    assert all("no losses yet" in words for words in pilot.app.toasts)


async def test_y_changes_to_a_log_scale_and_back() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        linear = chart.text
        await pilot.press("y")
        assert "log y" in state(chart)
        assert chart.text != linear
        await pilot.press("y")
        assert "linear y" in state(chart)


async def test_y_says_why_where_nothing_is_above_zero() -> None:
    async with open_chart() as (pilot, chart):
        chart.data.add_line("loss", "loss")
        chart.data.extend_line("loss", 1, [-1.0, 0.0])
        await pilot.press("y")
        assert "linear y" in state(chart)
    assert "above zero" in pilot.app.toasts[0]


async def test_x_goes_through_the_known_axes() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        for axis in ("tokens", "time", "step"):
            await pilot.press("x")
            assert state(chart).startswith(axis)
            assert chart.text.rstrip().endswith(axis)


async def test_x_keeps_what_is_in_view_and_the_crosshair() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press("plus", "plus", "left", "c")
        step = " ".join(chart.text.split()[:2])
        await pilot.press("x")
        assert "zoomed" in state(chart)
        assert chart.text.startswith(step)
        await pilot.press("x", "x")
        assert chart.text.startswith(step)


async def test_x_says_why_where_only_steps_are_known() -> None:
    async with open_chart() as (pilot, chart):
        chart.data.add_line("loss", "loss")
        chart.data.extend_line("loss", 1, [2.0, 1.0])
        await pilot.press("x")
    assert "only the axis" in pilot.app.toasts[0]


async def test_s_goes_through_the_smoothings() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        for words in ("smooth .98", "not smoothed", "smooth .6", "smooth .9"):
            await pilot.press("s")
            assert words in state(chart)


async def test_s_says_why_where_no_line_can_be_smoothed() -> None:
    async with open_chart() as (pilot, chart):
        chart.data.add_line("lr", "learning rate", smoothed=False)
        chart.data.extend_line("lr", 1, [2.0, 1.0])
        await pilot.press("s")
    assert "no line to smooth" in pilot.app.toasts[0]


async def test_f_holds_what_is_in_view_and_lets_it_go_on() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press("f")
        assert "follow off" in state(chart)
        axis = chart.text.split("\n")[-1]
        chart.data.extend_line("loss", 1_001, losses(3_000))
        chart.redraw()
        assert chart.text.split("\n")[-1] == axis
        await pilot.press("f")
        assert "follow" in state(chart)
        assert "4k" in chart.text.split("\n")[-1]


async def test_zooming_in_and_out_and_all_of_it_again() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        whole = chart.text
        await pilot.press("minus")
        await pilot.press("0")
        await pilot.press("plus", "equals_sign")
        assert "zoomed" in state(chart)
        assert chart.text != whole
        await pilot.press("minus", "minus")
        assert "zoomed" not in state(chart)
        await pilot.press("plus", "0")
        assert chart.text == whole
        await pilot.press(*["plus"] * 9)
    toasts = pilot.app.toasts
    assert [words for words in toasts if "already in view" in words] == toasts[:2]
    assert "highest zoom level" in toasts[-1]


async def test_panning_stops_following_and_says_where_it_ends() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press("left")
        await pilot.press("plus", "plus", "left")
        assert "follow off" in state(chart)
        await pilot.press(*["left"] * 12)
        for _ in range(20):
            chart.action_pan(1)
    toasts = pilot.app.toasts
    assert "+ zooms in" in toasts[0]
    assert "this is the first step." in toasts
    assert toasts[-1] == "this is the newest step; f follows it."


async def test_the_crosshair_reads_off_every_series_and_walks() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart, 100)
        await pilot.press("c")
        assert "crosshair" in state(chart)
        assert "step 100 " in chart.text
        assert f"training {losses(100)[99]:.4f}" in chart.text
        assert "validation 2.5000" in chart.text
        await pilot.press("left")
        assert "step 99 " in chart.text
        assert f"training {losses(100)[98]:.4f}" in chart.text
        await pilot.press("right", "right")
        await pilot.press("c")
        assert "step 100 " not in chart.text
    assert pilot.app.toasts == ["this is the end of the line."]


async def test_the_crosshair_takes_the_window_with_it() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press(*["plus"] * 5, "c", "left")
        for _ in range(150):
            chart.action_pan(-1)
        assert "follow off" in state(chart)
        assert "┊" in chart.text


async def test_the_wheel_zooms_at_the_pointer_and_says_nothing_at_its_ends() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        for _ in range(12):
            await turn_wheel(pilot, MouseScrollUp)
        assert "zoomed" in state(chart)
        ticks = chart.text.split("\n")[-1].split()
        assert 350 < float(ticks[0]) < 550  # 33 of 70 cells along 1,000 steps
        for _ in range(20):
            await turn_wheel(pilot, MouseScrollDown)
        assert "zoomed" not in state(chart)
    assert pilot.app.toasts == []


async def test_a_click_moves_the_crosshair_that_is_on() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.click(chart, (40, 10))
        assert "step" not in chart.text.split("\n")[0]
        await pilot.press("c")
        await pilot.click(chart, (44, 10))
        assert 400 < int(chart.text.split()[1].replace(",", "")) < 600


async def test_after_a_few_more_steps_only_their_cells_are_drawn() -> None:
    async with open_chart((120, 40)) as (_, chart):
        fill(chart, 2_000)
        chart.data.extend_line("loss", 2_001, losses(2_010)[-10:])
        regions = refreshed(chart, lambda: draw(chart))
        assert regions
        assert sum(region.area for region in regions) < 100
        assert refreshed(chart, lambda: draw(chart)) == []


async def test_several_calls_make_one_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        drawn = []
        monkeypatch.setattr("screens.chart.widget.render_chart", lambda *of: drawn.append(of) or render_chart(*of))
        for _ in range(8):
            chart.redraw()
        await pilot.pause()
        assert len(drawn) == 1


async def test_what_is_refreshed_is_what_a_drawing_from_nothing_shows() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart, 500)
        for first in range(501, 900, 20):
            chart.data.extend_line("loss", first, losses(first + 19)[-20:])
            chart.redraw()
            await pilot.pause()
            assert on_screen(chart) == chart.text.split("\n")


async def test_any_size_is_drawn() -> None:
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
                assert on_screen(chart) == chart.text.split("\n")


async def test_truncating_one_group_leaves_the_others_and_the_marks() -> None:
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


async def test_clearing_forgets_the_data_and_keeps_how_it_is_looked_at() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press("y", "s", "plus")
        chart.clear()
        assert "no losses yet" in chart.text
        assert "log y" in state(chart)
        assert "smooth .98" in state(chart)
        assert "zoomed" not in state(chart)


async def test_the_colours_are_those_of_the_theme() -> None:
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


async def test_a_theme_that_names_no_series_gets_ours() -> None:
    async with open_chart() as (pilot, chart):
        pilot.app.theme = "textual-dark"
        colours = {style_of(StyleKey("line", f"series-{number}"), chart).color for number in range(1, 9)}
        assert len(colours) == 8
        assert style_of(StyleKey("line", "#ff0000"), chart).color == Style(color="#ff0000").color


@pytest.mark.parametrize("no_color", [False, True])
async def test_raw_and_smoothed_differ_by_more_than_their_colour(
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


async def test_in_ascii_all_that_is_said_is_ascii() -> None:
    async with open_chart(ascii=True) as (pilot, chart):
        fill(chart)
        await pilot.press("c", "plus")
        assert chart.text.isascii()
        assert state(chart).isascii()


def test_the_chart_knows_nothing_of_runs() -> None:
    for path in (Path(__file__).parents[3] / "screens" / "chart").glob("*.py"):
        text = path.read_text().replace("from engines.output.ticks import", "")  # which is arithmetic
        assert "engines" not in text, path


def test_every_key_has_an_id_of_the_chart_and_a_tooltip() -> None:
    bindings = [binding for binding in Chart.BINDINGS if isinstance(binding, Binding)]
    assert len(bindings) == len(Chart.BINDINGS)
    assert all((binding.id or "").startswith("chart.") and binding.tooltip for binding in bindings)
    assert not {"ctrl+a", "ctrl+b"} & {key for binding in bindings for key in binding.key.split(",")}
