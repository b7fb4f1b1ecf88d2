"""Dialogs, pages and pickers close once: a double key, a burst or a late key does not crash and is not lost."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from seats import Seat, add_run, held, play
from textual.containers import Vertical
from textual.events import MouseDown
from textual.geometry import Offset
from textual.widgets import OptionList, Static

from engines.runs.store import Run
from screens.help import HelpScreen
from screens.runs.compare import CompareScreen
from screens.runs.page import TextPage
from screens.runs.screen import RunsScreen
from screens.sample.checkpoint_picker import CheckpointPicker
from screens.sample.screen import SampleScreen
from screens.shared.background import is_idle
from screens.widgets.confirm import ConfirmScreen
from screens.widgets.dialog import Palette


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, age in (("amber-fox", 4000.0), ("brave-owl", 8000.0), ("calm-elm", 9000.0)):
        add_run(tmp_path, "finished", name, age)
    return tmp_path


async def palette(seat: Seat) -> None:
    await seat.press("ctrl+p")
    await seat.until(lambda: isinstance(seat.screen, Palette) and seat.screen.has_class("-ready"))


async def help_page(seat: Seat) -> None:
    await seat.press("question_mark")
    assert isinstance(seat.screen, HelpScreen)


async def _runs(seat: Seat) -> None:
    await seat.press("2")
    screen = seat.screen
    assert isinstance(screen, RunsScreen)
    await seat.until(lambda: screen.table.row_count == 3)


async def question(seat: Seat) -> None:
    await _runs(seat)
    await seat.press("D")
    assert isinstance(seat.screen, ConfirmScreen)


async def page(seat: Seat) -> None:
    await _runs(seat)
    await seat.press("i")
    assert isinstance(seat.screen, TextPage)


async def difference(seat: Seat) -> None:
    await _runs(seat)
    await seat.press("space", "down", "d")
    assert isinstance(seat.screen, CompareScreen)


async def picker(seat: Seat) -> None:
    await seat.press("3")
    screen = seat.screen
    assert isinstance(screen, SampleScreen)
    await seat.until(lambda: screen.runs)
    await seat.press("c")
    assert isinstance(seat.screen, CheckpointPicker)


DIALOGS: dict[str, Callable[[Seat], Awaitable[None]]] = {
    "palette": palette, "help": help_page, "question": question, "page": page, "difference": difference,
    "picker": picker,
}  # fmt: skip
BURSTS = [
    ("enter", "enter"),
    ("enter", "escape"),
    ("escape", "escape"),
    ("n", "y"),
    ("down", "enter", "enter", "escape"),
]


@pytest.mark.parametrize("name", DIALOGS)
def test_no_burst_of_closing_keys_crashes_a_dialog(name: str, results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        for keys in BURSTS:
            await DIALOGS[name](seat)
            await seat.burst(*keys)
            for _ in range(3):  # what the palette opened, or a dialog that none of these keys closes
                if len(seat.app.screen_stack) > 1:
                    await seat.press("escape")
            assert len(seat.app.screen_stack) == 1, keys
            assert not seat.app._exit

    play(results, scenario)


def test_a_second_dismissal_closes_nothing_else(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await question(seat)
        below = seat.screen
        await seat.app.push_screen(TextPage("over it", HelpLine()))
        above = seat.screen
        assert isinstance(above, TextPage) and isinstance(below, ConfirmScreen)
        below.dismiss(True)  # late: it is not on top
        assert seat.screen is above
        above.dismiss()
        above.dismiss()
        await seat.pilot.pause()
        assert seat.screen is below and Run(results / "runs" / "amber-fox").path.exists()

    class HelpLine(Static):
        pass

    play(results, scenario)


@pytest.mark.parametrize(("keys", "is_deleted"), [(("enter", "y"), False), (("y", "n"), True), (("n", "y"), False)])
def test_the_first_answer_of_a_burst_counts(keys: tuple[str, ...], is_deleted: bool, results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")

    async def scenario(seat: Seat) -> None:
        await question(seat)
        await seat.burst(*keys)
        await seat.until(is_idle)
        assert run.path.exists() is not is_deleted

    play(results, scenario)


def test_enter_after_the_filter_has_changed_chooses_what_was_highlighted(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await picker(seat)
        await seat.burst("down", "z", "enter", "z", "enter", "escape", "enter")
        await seat.press("escape")
        assert isinstance(seat.screen, SampleScreen)

    play(results, scenario)


def test_keys_of_a_burst_are_all_handled(results: Path) -> None:
    """Keys after the one that closes a dialog reach the screen behind it."""

    async def scenario(seat: Seat) -> None:
        await question(seat)
        await seat.burst("n", "3")
        await seat.until(lambda: seat.app.current_mode == "sample")

    play(results, scenario)


def test_leaving_while_threads_still_read_does_not_crash(results: Path) -> None:
    run = Run(results / "runs" / "brave-owl")

    async def scenario(seat: Seat) -> None:
        await seat.burst("2", "3", "4", "1", "2", "q")

    with held(run):
        for _ in range(3):
            play(results, scenario, run=run)


def test_page_keys_in_a_list_that_is_not_laid_out_do_nothing(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        options = OptionList("one", "two")
        options.display = False
        await seat.screen.mount(options)
        options.highlighted = 1
        options.action_page_up()
        options.action_page_down()

    play(results, scenario)


@pytest.mark.parametrize("is_inside", [False, True], ids=["the widget", "what contains it"])
def test_a_click_on_a_widget_that_is_being_removed_does_nothing(
    is_inside: bool, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(seat: Seat) -> None:
        removed = Static("removed")
        if is_inside:
            removed._attach(Vertical())
        clicks: list[object] = []
        monkeypatch.setattr(seat.screen, "get_widget_and_offset_at", lambda *_: (removed, Offset(0, 0)))
        monkeypatch.setattr(seat.screen, "_forward_event", clicks.append)
        click = MouseDown(None, 5, 5, 0, 0, 1, False, False, False, 5, 5)
        click.set_sender(seat.app)
        seat.app.post_message(click)
        await seat.is_idle()
        assert not seat.app.failure and not clicks

    play(results, scenario)


def test_a_palette_that_opens_while_the_screen_is_switched_closes(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        seat.app.action_command_palette()
        opening = seat.screen
        assert isinstance(opening, Palette)
        seat.app.switch_mode("runs")
        await seat.until(lambda: not opening.is_attached)
        assert isinstance(seat.screen, RunsScreen)
        await palette(seat)
        await seat.press("escape", "1")
        assert not isinstance(seat.screen, Palette) and len(seat.app.screen_stack) == 1

    play(results, scenario)
