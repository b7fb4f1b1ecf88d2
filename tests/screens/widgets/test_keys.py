"""The keys at the foot of a screen: whole at any width, with the way out and the help among them."""

from pathlib import Path

import pytest
from seats import Seat, add_run, play

from screens.widgets.keys import Keys


def foot(seat: Seat) -> str:
    return seat.seen().splitlines()[-1].strip()


@pytest.mark.parametrize("width", (24, 60, 80, 100, 119, 120, 121, 160))
def test_the_way_out_and_the_help_are_told_at_any_width_and_no_key_is_cut(width: int, tmp_path: Path) -> None:
    add_run(tmp_path, "finished")

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: "? Help" in foot(seat))
        shown = seat.screen.query_one(Keys).shown
        words = [word for key in shown for word in f"{key.display} {key.description}".split()]
        assert foot(seat).split() == words
        assert words[-4:] == ["q", "Leave", "?", "Help"]

    play(tmp_path, scenario, (width, 24), screen="runs")


def test_keys_that_do_not_fit_come_back_when_there_is_room(tmp_path: Path) -> None:
    add_run(tmp_path, "finished")

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: "? Help" in foot(seat))
        assert "Delete" not in foot(seat)
        await seat.pilot.resize_terminal(160, 24)
        await seat.until(lambda: "Delete" in foot(seat))

    play(tmp_path, scenario, (80, 24), screen="runs")


def test_where_text_is_typed_the_keys_are_told_that_are_no_letters(tmp_path: Path) -> None:
    add_run(tmp_path, "finished")

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: "? Help" in foot(seat))
        await seat.press("slash")
        await seat.until(lambda: foot(seat) == "esc Back f1 Help")
        await seat.press("escape")
        await seat.until(lambda: "q Leave ? Help" in foot(seat))

    play(tmp_path, scenario, (80, 24), screen="runs")
