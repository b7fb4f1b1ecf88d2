"""The chart in a terminal: every key does what it says or says why not, and only what changed is sent."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.events import MouseScrollDown, MouseScrollUp
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget

from screens.chart import Chart
from screens.chart.canvas import Ink
from screens.chart.colours import style_of
from screens.chart.painting import paint
from screens.themes import THEMES

Act = Callable[[Pilot[None], Chart], Awaitable[None]]


class ChartApp(App[None]):
    """A chart in a border, and what it has said."""

    CSS = "Chart { border: round gray; }"

    def __init__(self, ascii: bool = False) -> None:
        super().__init__()
        self.said: list[str] = []
        self.chart = Chart(id="chart", ascii=ascii)

    def compose(self) -> ComposeResult:
        yield self.chart

    def on_mount(self) -> None:
        self.chart.focus()

    def notify(self, message: str, **how: Any) -> None:  # type: ignore[override]
        self.said.append(message)


def in_chart(act: Act, size: tuple[int, int] = (80, 24), ascii: bool = False) -> ChartApp:
    app = ChartApp(ascii)

    async def scenario() -> None:
        async with app.run_test(size=size) as pilot:
            await act(pilot, app.chart)

    asyncio.run(scenario())
    return app


def losses(count: int) -> list[float]:
    return [2 + math.exp(-step / 200) + 0.1 * math.sin(step) for step in range(count)]


def fill(chart: Chart, count: int = 1_000) -> None:
    """A line with all that it may have."""
    chart.add_line("loss", "training")
    chart.add_dots("val", "validation")
    chart.add_level("guessing", "ln 29", math.log(29))
    chart.extend("loss", 1, losses(count))
    chart.add("val", count // 2, 2.5)
    chart.set_axis_values("time", 1, (0.25 * step for step in range(1, count + 1)))
    chart.set_axis_values("tokens", 1, (512.0 * step for step in range(1, count + 1)))
    chart._draw()


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


def on_screen(chart: Chart) -> list[str]:
    """The rows as Textual has them, put together from what was refreshed."""
    stripes = [stripe.render_lines(stripe.size.region) for stripe in chart.children]
    return ["".join(strip.text for strip in row).rstrip() for row in zip(*stripes, strict=True)]


def test_an_empty_chart_says_so_and_so_does_every_key() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        assert "no losses yet" in chart.text
        for key in ("y", "x", "s", "f", "0", "plus", "minus", "left", "right", "c"):
            before = len(pilot.app.said)  # type: ignore[attr-defined]
            await pilot.press(key)
            assert len(pilot.app.said) == before + 1, key  # type: ignore[attr-defined]

    assert all("no losses yet" in words for words in in_chart(act).said)


def test_y_changes_to_a_log_scale_and_back() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        linear = chart.text
        await pilot.press("y")
        assert "log y" in state(chart)
        assert chart.text != linear
        await pilot.press("y")
        assert "linear y" in state(chart)

    in_chart(act)


def test_y_says_why_where_nothing_is_above_zero() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        chart.add_line("loss", "loss")
        chart.extend("loss", 1, [-1.0, 0.0])
        await pilot.press("y")
        assert "linear y" in state(chart)

    assert "above zero" in in_chart(act).said[0]


def test_x_goes_through_the_known_axes() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        for axis in ("tokens", "time", "step"):
            await pilot.press("x")
            assert state(chart).startswith(axis)
            assert chart.text.rstrip().endswith(axis)

    in_chart(act)


def test_x_keeps_what_is_in_view_and_the_crosshair() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        await pilot.press("plus", "plus", "left", "c")
        step = " ".join(chart.text.split()[:2])
        await pilot.press("x")
        assert "zoomed" in state(chart)
        assert chart.text.startswith(step)
        await pilot.press("x", "x")
        assert chart.text.startswith(step)

    in_chart(act)


def test_x_says_why_where_only_steps_are_known() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        chart.add_line("loss", "loss")
        chart.extend("loss", 1, [2.0, 1.0])
        await pilot.press("x")

    assert "only steps are known" in in_chart(act).said[0]


def test_s_goes_through_the_smoothings() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        for words in ("smooth .98", "not smoothed", "smooth .6", "smooth .9"):
            await pilot.press("s")
            assert words in state(chart)

    in_chart(act)


def test_s_says_why_where_no_line_can_be_smoothed() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        chart.add_line("lr", "learning rate", smoothed=False)
        chart.extend("lr", 1, [2.0, 1.0])
        await pilot.press("s")

    assert "no line here to smooth" in in_chart(act).said[0]


def test_f_holds_what_is_in_view_and_lets_it_go_on() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        await pilot.press("f")
        assert "held" in state(chart)
        axis = chart.text.split("\n")[-1]
        chart.extend("loss", 1_001, losses(3_000))
        chart.redraw()
        assert chart.text.split("\n")[-1] == axis
        await pilot.press("f")
        assert "follow" in state(chart)
        assert "4k" in chart.text.split("\n")[-1]

    in_chart(act)


def test_zooming_in_and_out_and_all_of_it_again() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
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

    said = in_chart(act).said
    assert [words for words in said if "in view already" in words] == said[:2]
    assert "as near as it goes" in said[-1]


def test_panning_stops_following_and_says_where_it_ends() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        await pilot.press("left")
        await pilot.press("plus", "plus", "left")
        assert "held" in state(chart)
        await pilot.press(*["left"] * 12)
        for _ in range(20):
            chart.action_pan(1)

    said = in_chart(act).said
    assert "+ goes nearer" in said[0]
    assert "this is the beginning." in said
    assert said[-1] == "this is the newest; f follows it."


def test_the_crosshair_reads_off_every_series_and_walks() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
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

    assert in_chart(act).said == ["there is no point further on."]


def test_the_crosshair_takes_the_window_with_it() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        await pilot.press(*["plus"] * 5, "c", "left")
        for _ in range(150):
            chart.action_pan(-1)
        assert "held" in state(chart)
        assert "┊" in chart.text

    in_chart(act)


def test_the_wheel_zooms_at_the_pointer_and_says_nothing_at_its_ends() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        for _ in range(12):
            await pilot._post_mouse_events([MouseScrollUp], chart, (40, 10), button=0)
        assert "zoomed" in state(chart)
        ticks = chart.text.split("\n")[-1].split()
        assert 350 < float(ticks[0]) < 550  # 33 of 70 cells along 1,000 steps
        for _ in range(20):
            await pilot._post_mouse_events([MouseScrollDown], chart, (40, 10), button=0)
        assert "zoomed" not in state(chart)

    assert in_chart(act).said == []


def test_a_click_moves_the_crosshair_that_is_on() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        await pilot.click(chart, (40, 10))
        assert "step" not in chart.text.split("\n")[0]
        await pilot.press("c")
        await pilot.click(chart, (44, 10))
        assert 400 < int(chart.text.split()[1].replace(",", "")) < 600

    in_chart(act)


def test_after_a_few_more_steps_only_their_cells_are_drawn() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart, 2_000)
        chart.extend("loss", 2_001, losses(2_010)[-10:])
        regions = refreshed(chart, chart._draw)
        assert regions
        assert sum(region.area for region in regions) < 100
        assert refreshed(chart, chart._draw) == []

    in_chart(act, (120, 40))


def test_several_calls_make_one_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        drawn = []
        monkeypatch.setattr("screens.chart.widget.paint", lambda *of: drawn.append(of) or paint(*of))
        for _ in range(8):
            chart.redraw()
        await pilot.pause()
        assert len(drawn) == 1

    in_chart(act)


def test_what_is_refreshed_is_what_a_drawing_from_nothing_shows() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart, 500)
        for first in range(501, 900, 20):
            chart.extend("loss", first, losses(first + 19)[-20:])
            chart.redraw()
            await pilot.pause()
            assert on_screen(chart) == chart.text.split("\n")

    in_chart(act)


def test_any_size_is_drawn() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        chart.marks.add(500, "error", "nonfinite")
        await pilot.press("c")
        for width, height in ((1, 1), (2, 3), (3, 2), (5, 5), (20, 5), (12, 40), (200, 3), (200, 60), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.press("plus", "left", "0")
            assert len(chart.text.split("\n")) <= max(1, height)
            await pilot.pause()
            if min(chart.size) >= 8:
                assert on_screen(chart) == chart.text.split("\n")

    in_chart(act, (1, 1))


def test_truncating_one_group_leaves_the_others_and_the_marks() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        for name in ("one", "two"):
            chart.add_line(name, name, group=name)
            chart.extend(name, 1, [2.0] * 100)
        chart.redraw()
        chart.marks.add(80, "error", "nonfinite", "one")
        await pilot.press("c")
        chart.truncate(50, "one")
        chart.redraw()
        assert "one  " in chart.text
        assert "two 2.0000" in chart.text
        assert "nonfinite" in chart.text
        chart.truncate(0)
        chart.redraw()
        assert "no losses yet" in chart.text

    in_chart(act)


def test_clearing_forgets_the_data_and_keeps_how_it_is_looked_at() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        await pilot.press("y", "s", "plus")
        chart.clear()
        assert "no losses yet" in chart.text
        assert "log y" in state(chart)
        assert "smooth .98" in state(chart)
        assert "zoomed" not in state(chart)

    in_chart(act)


def test_the_colours_are_those_of_the_theme() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        for theme in THEMES:
            pilot.app.register_theme(theme)
        fill(chart)
        for theme in THEMES:
            pilot.app.theme = theme.name
            await pilot.pause()
            strips = [chart.strip(y) for y in range(chart.size.height)]
            colours = {segment.style.color.name for strip in strips for segment in strip if segment.style}  # type: ignore[union-attr]
            assert theme.variables["series-1"] in colours

    in_chart(act)


def test_a_theme_that_names_no_series_gets_ours() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        pilot.app.theme = "textual-dark"
        colours = {style_of(Ink("line", f"series-{number}"), chart).color for number in range(1, 9)}
        assert len(colours) == 8
        assert style_of(Ink("line", "#ff0000"), chart).color == Style(color="#ff0000").color

    in_chart(act)


@pytest.mark.parametrize("no_color", [False, True])
def test_raw_and_smoothed_differ_by_more_than_their_colour(no_color: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")

    async def act(pilot: Pilot[None], chart: Chart) -> None:
        assert pilot.app.no_color is no_color
        fill(chart)
        strips = [chart.strip(y) for y in range(2, 15)]
        braille = [segment for strip in strips for segment in strip if any(mark > "⠀" for mark in segment.text)]
        assert {bool(segment.style and segment.style.bold) for segment in braille} == {False, True}

    in_chart(act)


def test_in_ascii_all_that_is_said_is_ascii() -> None:
    async def act(pilot: Pilot[None], chart: Chart) -> None:
        fill(chart)
        await pilot.press("c", "plus")
        assert chart.text.isascii()
        assert state(chart).isascii()

    in_chart(act, ascii=True)


def test_the_chart_knows_nothing_of_runs() -> None:
    for path in (Path(__file__).parents[4] / "screens" / "widgets" / "chart").glob("*.py"):
        text = path.read_text().replace("from engines.reports.scales import", "")  # which is arithmetic
        assert "engines" not in text, path


def test_every_key_has_an_id_of_the_chart_and_a_tooltip() -> None:
    bindings = [binding for binding in Chart.BINDINGS if isinstance(binding, Binding)]
    assert len(bindings) == len(Chart.BINDINGS)
    assert all((binding.id or "").startswith("chart.") and binding.tooltip for binding in bindings)
    assert not {"ctrl+a", "ctrl+b"} & {key for binding in bindings for key in binding.key.split(",")}
