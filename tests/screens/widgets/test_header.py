"""The header's screen names take clicks where they stand, and nowhere else."""

from pathlib import Path

import pytest
from seats import Seat, play

NAMES = " 1 Train  2 Runs  3 Sample  4 Ablate "
MODES = ("train", "runs", "sample", "ablate")


@pytest.mark.parametrize("number", range(4))
def test_a_click_on_any_cell_of_a_name_opens_that_screen(number: int, tmp_path: Path) -> None:
    start = 1 + sum(len(name) for name in (" 1 Train ", " 2 Runs ", " 3 Sample ", " 4 Ablate ")[:number])
    width = len((" 1 Train ", " 2 Runs ", " 3 Sample ", " 4 Ablate ")[number])

    async def scenario(seat: Seat) -> None:
        assert seat.seen().startswith(f" {NAMES}".rstrip())
        for x in (start, start + width - 1):
            await seat.press("2" if number != 1 else "3")
            await seat.pilot.click(offset=(x, 0))
            await seat.until(lambda: seat.app.current_mode == MODES[number])

    play(tmp_path, scenario, screen="runs")


@pytest.mark.parametrize(("width", "x"), [(120, 0), (120, 60), (120, 119), (30, 3), (30, 12)])
def test_a_click_beside_the_names_opens_nothing(width: int, x: int, tmp_path: Path) -> None:
    """A narrow terminal shows the name of this screen only."""

    async def scenario(seat: Seat) -> None:
        await seat.pilot.click(offset=(x, 0))
        assert seat.app.current_mode == "runs"

    play(tmp_path, scenario, (width, 30), screen="runs")
