"""Help: every key that works now, on a page that scrolls, closes and leaves the screen behind as it was."""

from pathlib import Path

import pytest
from seats import Seat, add_run, play
from textual.app import App
from textual.containers import VerticalScroll
from textual.screen import Screen

from screens.app import DashboardApp
from screens.chart import Chart
from screens.help import HelpScreen, key_groups
from screens.shared.background import is_idle
from screens.train.screen import TrainScreen

SCREENS = ["train", "runs", "sample", "ablate"]


def box(seat: Seat) -> VerticalScroll:
    return seat.screen.query_one("#help", VerticalScroll)


async def opened(seat: Seat) -> None:
    await seat.press("f1")
    assert isinstance(seat.screen, HelpScreen)
    await seat.until(lambda: box(seat).has_focus)


@pytest.mark.parametrize("mode", SCREENS)
def test_help_lists_every_binding_of_the_screen_and_the_app(mode: str, tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        wanted = [
            (active.binding.description, active.binding.tooltip)
            for active in seat.screen.active_bindings.values()
            if active.binding.id and isinstance(active.node, App | Screen) and not active.binding.system
        ]
        await opened(seat)
        lines = " ".join(seat.seen().split())
        for name, explanation in wanted:
            assert f"{name} {explanation}" in lines

    assert len(TrainScreen.BINDINGS) > 10 and len(DashboardApp.BINDINGS) > 5
    play(tmp_path, scenario, (120, 100), screen=mode)


def test_keys_of_one_action_share_a_line_and_textuals_own_come_last(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        groups = key_groups(seat.screen)
        assert [group.title for group in groups] == [
            "new run", "this screen", "everywhere", "text and scrolling"
        ]  # fmt: skip
        (start,) = [action for action in groups[0].actions if action.name == "Start"]
        assert start.keys == "f5 ^s" and start.explanation == "Start a run with these settings"

    play(tmp_path, scenario)


def test_arrows_and_page_keys_scroll_it_to_both_ends(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        last = box(seat).max_scroll_y
        assert last > 10
        for key, wanted in [("down", 1), ("up", 0), ("end", last), ("home", 0)]:
            await seat.press(key)
            await seat.until(lambda wanted=wanted: box(seat).scroll_offset.y == wanted)
        await seat.press("pagedown")
        await seat.until(lambda: box(seat).scroll_offset.y >= min(10, last))
        await seat.press("pageup")
        await seat.until(lambda: box(seat).scroll_offset.y == 0)

    play(tmp_path, scenario, (80, 24))


@pytest.mark.parametrize("key", ["escape", "question_mark", "f1"])
def test_it_closes_and_leaves_the_screen_behind_unchanged(key: str, tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished")

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: seat.screen.query_one(Chart).has_focus)
        seat.app._refresh_timer.pause()  # the header stays as it is
        await seat.until(is_idle)
        before, size = seat.painted(), seat.screen.query_one(Chart).size
        await opened(seat)
        assert seat.app.screen_stack[0].query_one(Chart).size == size
        await seat.press(key)
        assert isinstance(seat.screen, TrainScreen) and seat.screen.query_one(Chart).has_focus
        await seat.until(lambda: seat.painted() == before)

    play(tmp_path, scenario, run=run)


def test_the_palettes_keys_command_opens_the_same_page(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        (command,) = [entry for entry in seat.app.get_system_commands(seat.screen) if entry.title == "Keys"]
        command.callback()
        await seat.until(lambda: isinstance(seat.screen, HelpScreen))

    play(tmp_path, scenario)
