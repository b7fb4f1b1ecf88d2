"""Dialogs, pages and pickers close once: double, fast and late keys neither crash nor get lost."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from app_pilot import AppPilot, add_run, hold_lock, mouse_event, open_dashboard
from textual.containers import Vertical
from textual.events import MouseDown
from textual.geometry import Offset
from textual.widgets import OptionList, Static
from textual_internals import attach

from engines.runs.store import Run
from screens.commands import Palette
from screens.help import HelpScreen
from screens.runs.compare import CompareScreen
from screens.runs.page import TextPage
from screens.runs.screen import RunsScreen
from screens.sample.checkpoint_picker import CheckpointPicker
from screens.sample.screen import SampleScreen
from screens.shared.background import is_idle
from screens.shared.table import RowTable
from screens.widgets.confirm import ConfirmScreen


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, age in (("amber-fox", 4000.0), ("brave-owl", 8000.0), ("calm-elm", 9000.0)):
        add_run(tmp_path, "finished", name, age)
    return tmp_path


async def open_palette(pilot: AppPilot) -> None:
    await pilot.press("ctrl+p")
    await pilot.wait_until(lambda: isinstance(pilot.screen, Palette) and pilot.screen.has_class("-ready"))


async def open_help(pilot: AppPilot) -> None:
    await pilot.press("question_mark")
    assert isinstance(pilot.screen, HelpScreen)


async def open_runs_screen(pilot: AppPilot) -> None:
    await pilot.press("2")
    screen = pilot.screen
    assert isinstance(screen, RunsScreen)
    await pilot.wait_until(lambda: screen.table.row_count == 3)


async def open_confirmation(pilot: AppPilot) -> None:
    await open_runs_screen(pilot)
    await pilot.press("D")
    assert isinstance(pilot.screen, ConfirmScreen)


async def open_details(pilot: AppPilot) -> None:
    await open_runs_screen(pilot)
    await pilot.press("i")
    assert isinstance(pilot.screen, TextPage)


async def open_comparison(pilot: AppPilot) -> None:
    await open_runs_screen(pilot)
    await pilot.press("space", "down", "d")
    assert isinstance(pilot.screen, CompareScreen)


async def open_picker(pilot: AppPilot) -> None:
    await pilot.press("3")
    screen = pilot.screen
    assert isinstance(screen, SampleScreen)
    await pilot.wait_until(lambda: screen.runs)
    await pilot.press("c")
    assert isinstance(pilot.screen, CheckpointPicker)


DIALOGS: dict[str, Callable[[AppPilot], Awaitable[None]]] = {
    "palette": open_palette,
    "help": open_help,
    "confirmation": open_confirmation,
    "details": open_details,
    "comparison": open_comparison,
    "picker": open_picker,
}
FAST_KEYS = [
    ("enter", "enter"),
    ("enter", "escape"),
    ("escape", "escape"),
    ("n", "y"),
    ("down", "enter", "enter", "escape"),
]


@pytest.mark.parametrize("name", DIALOGS)
async def test_fast_closing_keys_do_not_crash_a_dialog(name: str, results: Path) -> None:
    async with open_dashboard(results) as pilot:
        for keys in FAST_KEYS:
            await DIALOGS[name](pilot)
            await pilot.press_at_once(*keys)
            for _ in range(3):  # what the palette opened, or a dialog that none of these keys closes
                if len(pilot.app.screen_stack) > 1:
                    await pilot.press("escape")
            assert len(pilot.app.screen_stack) == 1, keys
            assert not pilot.has_exited


async def test_a_second_dismissal_closes_nothing_else(results: Path) -> None:
    class HelpLine(Static):
        pass

    async with open_dashboard(results) as pilot:
        await open_confirmation(pilot)
        below = pilot.screen
        await pilot.app.push_screen(TextPage("over it", HelpLine()))
        above = pilot.screen
        assert isinstance(above, TextPage) and isinstance(below, ConfirmScreen)
        below.dismiss(True)  # late: it is no longer in front
        assert pilot.screen is above
        above.dismiss()
        above.dismiss()
        await pilot.pause()
        assert pilot.screen is below and Run(results / "runs" / "amber-fox").path.exists()


@pytest.mark.parametrize(("keys", "is_deleted"), [(("enter", "y"), False), (("y", "n"), True), (("n", "y"), False)])
async def test_the_first_of_several_fast_answers_counts(keys: tuple[str, ...], is_deleted: bool, results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")
    async with open_dashboard(results) as pilot:
        await open_confirmation(pilot)
        await pilot.press_at_once(*keys)
        await pilot.wait_until(is_idle)
        assert run.path.exists() is not is_deleted


async def test_enter_after_the_filter_has_changed_chooses_the_highlighted_entry(results: Path) -> None:
    async with open_dashboard(results) as pilot:
        await open_picker(pilot)
        await pilot.press_at_once("down", "z", "enter", "z", "enter", "escape", "enter")
        await pilot.press("escape")
        assert isinstance(pilot.screen, SampleScreen)


async def test_fast_keys_are_all_handled(results: Path) -> None:
    """Keys after the one that closes a dialog reach the screen behind it."""
    async with open_dashboard(results) as pilot:
        await open_confirmation(pilot)
        await pilot.press_at_once("n", "3")
        await pilot.wait_until(lambda: pilot.app.current_mode == "sample")


async def test_exiting_while_threads_still_read_does_not_crash(results: Path) -> None:
    run = Run(results / "runs" / "brave-owl")

    with hold_lock(run):
        for _ in range(3):
            async with open_dashboard(results, run=run) as pilot:
                await pilot.press_at_once("2", "3", "4", "1", "2", "q")


async def test_page_keys_in_a_list_that_is_not_laid_out_do_nothing(results: Path) -> None:
    async with open_dashboard(results) as pilot:
        options = OptionList("one", "two")
        options.display = False
        await pilot.screen.mount(options)
        options.highlighted = 1
        options.action_page_up()
        options.action_page_down()


@pytest.mark.parametrize("is_inside", [False, True], ids=["the widget", "what contains it"])
async def test_a_click_on_a_widget_that_is_being_removed_does_nothing(
    is_inside: bool, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_dashboard(results) as pilot:
        removed = Static("removed")
        if is_inside:
            attach(removed, Vertical())
        clicks: list[object] = []
        monkeypatch.setattr(pilot.screen, "get_widget_and_offset_at", lambda *_: (removed, Offset(0, 0)))
        monkeypatch.setattr(pilot.screen, "_forward_event", clicks.append)
        pilot.app.post_message(mouse_event(pilot.app, MouseDown, 5, 5))
        await pilot.wait_until_idle()
        assert not pilot.app.failure and not clicks


async def test_a_palette_that_opens_while_the_screen_is_switched_closes(results: Path) -> None:
    async with open_dashboard(results) as pilot:
        pilot.app.action_command_palette()
        opening = pilot.screen
        assert isinstance(opening, Palette)
        pilot.app.switch_mode("runs")
        await pilot.wait_until(lambda: not opening.is_attached)
        assert isinstance(pilot.screen, RunsScreen)
        await open_palette(pilot)
        await pilot.press("escape", "1")
        assert not isinstance(pilot.screen, Palette) and len(pilot.app.screen_stack) == 1


async def test_the_palette_lists_the_actions_of_the_screen(results: Path) -> None:
    async with open_dashboard(results, screen="runs") as pilot:
        await pilot.wait_until(lambda: pilot.screen.query_one(RowTable).row_count == 3)
        commands = {command.title: command.help for command in pilot.app.get_system_commands(pilot.screen)}
        assert commands["Overlay: show the curves of marked runs on one chart"] == "Key: v"
        assert commands["Sample: generate text"] == "Key: 3"
        assert "Screenshot: save the screen as an SVG file" in commands


async def test_the_palette_and_scrollbars_are_drawn_in_ascii(results: Path) -> None:
    async with open_dashboard(results, (80, 12), screen="runs", ascii=True) as pilot:
        await open_palette(pilot)
        await pilot.wait_for_text("Key: 4")
        assert pilot.screen_text().isascii(), pilot.screen_text()
