"""Help lists every key that works on the current screen, scrolls, and closes without changing the screen behind it."""

from pathlib import Path

import pytest
from app_pilot import SCREENS, AppPilot, add_run, note_on_failure, open_dashboard
from textual.app import App
from textual.containers import VerticalScroll
from textual.screen import Screen

from screens.app import DashboardApp
from screens.chart import Chart
from screens.help import HelpScreen, key_groups
from screens.shared.background import is_idle
from screens.train.screen import TrainScreen


def box(pilot: AppPilot) -> VerticalScroll:
    return pilot.screen.query_one("#help", VerticalScroll)


async def open_help(pilot: AppPilot) -> None:
    await pilot.press("f1")
    assert isinstance(pilot.screen, HelpScreen)
    await pilot.wait_until(lambda: box(pilot).has_focus)


@pytest.mark.parametrize("mode", SCREENS)
async def test_help_lists_every_binding_of_the_screen_and_the_app(mode: str, tmp_path: Path) -> None:
    assert len(TrainScreen.BINDINGS) > 10 and len(DashboardApp.BINDINGS) > 5
    async with open_dashboard(tmp_path, (120, 100), screen=mode) as pilot:
        expected = [
            (active.binding.description, active.binding.tooltip)
            for active in pilot.screen.active_bindings.values()
            if active.binding.id and isinstance(active.node, App | Screen) and not active.binding.system
        ]
        await open_help(pilot)
        lines = " ".join(pilot.screen_text().split())
        for name, explanation in expected:
            assert f"{name} {explanation}" in lines


async def test_keys_of_one_action_share_a_line_and_those_of_textual_come_last(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        groups = key_groups(pilot.screen)
        assert [group.title for group in groups] == [
            "New run", "This screen", "All screens", "Text and scrolling"
        ]  # fmt: skip
        (start,) = [action for action in groups[0].actions if action.name == "Start"]
        assert start.keys == "f5 ^s" and start.explanation == "Start a run with these settings"


async def test_arrows_and_page_keys_scroll_the_help_to_both_ends(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, (80, 24)) as pilot:
        await open_help(pilot)
        last = box(pilot).max_scroll_y
        assert last > 10
        for key, position in [("down", 1), ("up", 0), ("end", last), ("home", 0)]:
            await pilot.press(key)
            await pilot.wait_until(lambda position=position: box(pilot).scroll_offset.y == position)
        await pilot.press("pagedown")
        await pilot.wait_until(lambda: box(pilot).scroll_offset.y >= min(10, last))
        await pilot.press("pageup")
        await pilot.wait_until(lambda: box(pilot).scroll_offset.y == 0)


async def test_closing_the_help_leaves_the_screen_behind_unchanged(tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished")
    async with open_dashboard(tmp_path, run=run, refresh_interval=1e6) as pilot:  # so that the header does not change
        await pilot.wait_until(lambda: pilot.screen.query_one(Chart).has_focus)
        await pilot.wait_until(is_idle)
        before, size = pilot.styled_lines(), pilot.screen.query_one(Chart).size
        for key in ("escape", "question_mark", "f1"):
            with note_on_failure(key):
                await open_help(pilot)
                assert pilot.app.screen_stack[0].query_one(Chart).size == size
                await pilot.press(key)
                assert isinstance(pilot.screen, TrainScreen) and pilot.screen.query_one(Chart).has_focus
                await pilot.wait_until(lambda: pilot.styled_lines() == before)


async def test_the_help_command_of_the_palette_opens_the_same_page(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        commands = {command.title: command for command in pilot.app.get_system_commands(pilot.screen)}
        await commands["Help: show all keys of this screen"].callback()
        await pilot.wait_until(lambda: isinstance(pilot.screen, HelpScreen))
