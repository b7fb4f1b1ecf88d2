"""A click on a screen name in the header opens that screen; other clicks do nothing."""

from pathlib import Path

import pytest
from app_pilot import open_dashboard

NAMES = " 1 Train  2 Runs  3 Sample  4 Ablate "
MODES = ("train", "runs", "sample", "ablate")


@pytest.mark.parametrize("number", range(4))
async def test_a_click_on_any_cell_of_a_name_opens_that_screen(number: int, tmp_path: Path) -> None:
    start = 1 + sum(len(name) for name in (" 1 Train ", " 2 Runs ", " 3 Sample ", " 4 Ablate ")[:number])
    width = len((" 1 Train ", " 2 Runs ", " 3 Sample ", " 4 Ablate ")[number])
    async with open_dashboard(tmp_path, screen="runs") as pilot:
        assert pilot.screen_text().startswith(f" {NAMES}".rstrip())
        for x in (start, start + width - 1):
            await pilot.press("2" if number != 1 else "3")
            await pilot.click(offset=(x, 0))
            await pilot.wait_until(lambda: pilot.app.current_mode == MODES[number])


@pytest.mark.parametrize(("width", "x"), [(120, 0), (120, 60), (120, 119), (30, 3), (30, 12)])
async def test_a_click_next_to_the_names_opens_nothing(width: int, x: int, tmp_path: Path) -> None:
    """A narrow terminal shows only the name of the current screen."""
    async with open_dashboard(tmp_path, (width, 30), screen="runs") as pilot:
        await pilot.click(offset=(x, 0))
        assert pilot.app.current_mode == "runs"
