"""Keys, wheel and clicks on the chart: each has its effect or explains why it has none."""

from typing import Any

from app_pilot import mouse_event
from chart_app import fill, losses, open_chart, state
from textual.binding import Binding
from textual.events import MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot

from screens.chart import Chart


async def turn_wheel(pilot: Pilot[None], event_type: type[Any]) -> None:
    pilot.app.post_message(mouse_event(pilot.app, event_type, 40, 10))
    await pilot.pause()


async def test_an_empty_chart_and_its_keys_explain_that_there_are_no_data() -> None:
    async with open_chart() as (pilot, chart):
        assert "no losses yet" in chart.text
        for key in ("y", "x", "s", "f", "0", "plus", "minus", "left", "right", "c"):
            before = len(pilot.app.toasts)  # type: ignore[attr-defined]
            await pilot.press(key)
            assert len(pilot.app.toasts) == before + 1, key  # type: ignore[attr-defined]
    assert all("no losses yet" in toast for toast in pilot.app.toasts)


async def test_y_changes_to_a_log_scale_and_back() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        linear = chart.text
        await pilot.press("y")
        assert "log y" in state(chart)
        assert chart.text != linear
        await pilot.press("y")
        assert "linear y" in state(chart)


async def test_y_explains_that_a_log_scale_needs_values_above_zero() -> None:
    async with open_chart() as (pilot, chart):
        chart.data.add_line("loss", "loss")
        chart.data.extend_line("loss", 1, [-1.0, 0.0])
        await pilot.press("y")
        assert "linear y" in state(chart)
    assert "above zero" in pilot.app.toasts[0]


async def test_x_selects_the_next_available_axis() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        for axis in ("tokens", "time", "step"):
            await pilot.press("x")
            assert state(chart).startswith(axis)
            assert chart.text.rstrip().endswith(axis)


async def test_x_keeps_the_view_and_the_crosshair() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press("plus", "plus", "left", "c")
        step = " ".join(chart.text.split()[:2])
        await pilot.press("x")
        assert "zoomed" in state(chart)
        assert chart.text.startswith(step)
        await pilot.press("x", "x")
        assert chart.text.startswith(step)


async def test_x_explains_that_only_the_axis_of_steps_is_available() -> None:
    async with open_chart() as (pilot, chart):
        chart.data.add_line("loss", "loss")
        chart.data.extend_line("loss", 1, [2.0, 1.0])
        await pilot.press("x")
    assert "No other x axis" in pilot.app.toasts[0]


async def test_s_selects_the_next_smoothing() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        for words in ("smooth .98", "not smoothed", "smooth .6", "smooth .9"):
            await pilot.press("s")
            assert words in state(chart)


async def test_s_explains_that_no_line_can_be_smoothed() -> None:
    async with open_chart() as (pilot, chart):
        chart.data.add_line("lr", "learning rate", smoothed=False)
        chart.data.extend_line("lr", 1, [2.0, 1.0])
        await pilot.press("s")
    assert "no line to smooth" in pilot.app.toasts[0]


async def test_f_turns_following_off_and_on() -> None:
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


async def test_zooming_in_out_and_back_to_all_data() -> None:
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
    assert [toast for toast in toasts if "already in view" in toast] == toasts[:2]
    assert "highest zoom level" in toasts[-1]


async def test_panning_stops_following_and_reports_both_ends() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press("left")
        await pilot.press("plus", "plus", "left")
        assert "follow off" in state(chart)
        await pilot.press(*["left"] * 12)
        for _ in range(20):
            chart.action_pan(1)
    toasts = pilot.app.toasts
    assert "Press + to zoom in" in toasts[0]
    assert "This is the first step." in toasts
    assert toasts[-1] == "This is the newest step. Press f to follow it."


async def test_the_crosshair_shows_the_values_of_all_series_and_moves() -> None:
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
    assert pilot.app.toasts == ["This is the end of the line."]


async def test_the_view_follows_the_crosshair() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.press(*["plus"] * 5, "c", "left")
        for _ in range(150):
            chart.action_pan(-1)
        assert "follow off" in state(chart)
        assert "┊" in chart.text


async def test_the_wheel_zooms_at_the_pointer_without_toasts_at_its_ends() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        for _ in range(12):
            await turn_wheel(pilot, MouseScrollUp)
        assert "zoomed" in state(chart)
        ticks = chart.text.split("\n")[-1].split()
        assert 350 < float(ticks[0]) < 550  # the pointer is at 33 of 70 cells, of 1,000 steps
        for _ in range(20):
            await turn_wheel(pilot, MouseScrollDown)
        assert "zoomed" not in state(chart)
    assert pilot.app.toasts == []


async def test_a_click_moves_the_crosshair_if_it_is_on() -> None:
    async with open_chart() as (pilot, chart):
        fill(chart)
        await pilot.click(chart, (40, 10))
        assert "step" not in chart.text.split("\n")[0]
        await pilot.press("c")
        await pilot.click(chart, (44, 10))
        assert 400 < int(chart.text.split()[1].replace(",", "")) < 600


def test_every_key_has_an_id_of_the_chart_and_a_tooltip() -> None:
    bindings = [binding for binding in Chart.BINDINGS if isinstance(binding, Binding)]
    assert len(bindings) == len(Chart.BINDINGS)
    assert all((binding.id or "").startswith("chart.") and binding.tooltip for binding in bindings)
    assert not {"ctrl+a", "ctrl+b"} & {key for binding in bindings for key in binding.key.split(",")}
