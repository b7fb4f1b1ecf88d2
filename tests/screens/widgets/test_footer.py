"""The keys in the footer: never cut, and at any width with those for exit and help."""

from pathlib import Path

import pytest
from app_pilot import AppPilot, add_run, open_dashboard

from screens.widgets.footer import AppFooter


def footer_text(pilot: AppPilot) -> str:
    return pilot.screen_text().splitlines()[-1].strip()


@pytest.mark.parametrize("width", (24, 60, 80, 100, 119, 120, 121, 160))
async def test_exit_and_help_are_shown_at_any_width_and_no_key_is_cut(width: int, tmp_path: Path) -> None:
    add_run(tmp_path, "finished")
    async with open_dashboard(tmp_path, (width, 24), screen="runs") as pilot:
        await pilot.wait_until(lambda: "? Help" in footer_text(pilot))
        shown = pilot.screen.query_one(AppFooter).shown
        words = [word for key in shown for word in f"{key.display} {key.description}".split()]
        assert footer_text(pilot).split() == words
        assert words[-4:] == ["q", "Quit", "?", "Help"]


async def test_keys_that_do_not_fit_are_shown_again_when_there_is_room(tmp_path: Path) -> None:
    add_run(tmp_path, "finished")
    async with open_dashboard(tmp_path, (80, 24), screen="runs") as pilot:
        await pilot.wait_until(lambda: "? Help" in footer_text(pilot))
        assert "Delete" not in footer_text(pilot)
        await pilot.resize_terminal(160, 24)
        await pilot.wait_until(lambda: "Delete" in footer_text(pilot))


async def test_an_input_with_focus_shows_only_keys_that_are_not_typed(tmp_path: Path) -> None:
    add_run(tmp_path, "finished")
    async with open_dashboard(tmp_path, (80, 24), screen="runs") as pilot:
        await pilot.wait_until(lambda: "? Help" in footer_text(pilot))
        await pilot.press("slash")
        await pilot.wait_until(lambda: footer_text(pilot) == "esc Back f1 Help")
        await pilot.press("escape")
        await pilot.wait_until(lambda: "q Quit ? Help" in footer_text(pilot))
