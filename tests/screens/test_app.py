"""The app around the screens: switching screens, exit, sizes of the terminal, and modes."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from app_pilot import SCREENS, AppPilot, add_run, hold_lock, open_dashboard, run_of
from textual.widgets import Input
from textual_internals import layout_size, visible_toasts

from engines.runs.history import read_history
from screens.app import DashboardApp
from screens.runs.screen import RunsScreen
from screens.shared.background import is_idle
from screens.train.panel import RunPanel

NEVER = 1e6  # seconds
SIZES = [(1, 1), (20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]


# --- screens and exit -------------------------------------------------------------------------------


async def test_a_screenshot_is_written_to_the_results_directory_or_an_error_shown(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path / "new") as pilot:
        pilot.app.deliver_screenshot()
        await pilot.wait_for_toast(f"Screenshot written: {tmp_path}/new/nanochat-tui")
        (shot,) = (tmp_path / "new").glob("nanochat-tui*.svg")
        assert "Train" in shot.read_text()
        (tmp_path / "file").touch()
        pilot.app.deliver_screenshot(path=f"{tmp_path}/file/in")
        await pilot.wait_for_toast("cannot be written: a part of the path is not a directory.")


async def test_the_number_keys_switch_screens(results: Path) -> None:
    async with open_dashboard(results) as pilot:
        for key, mode in zip("2341", ["runs", "sample", "ablate", "train"], strict=True):
            await pilot.press(key)
            assert pilot.app.current_mode == mode
        await pilot.press("1")
        await pilot.wait_for_toast("The train screen is already open")


async def test_opening_a_run_of_the_list_replaces_the_run_that_was_shown(results: Path) -> None:
    async def open_run(pilot: AppPilot, run_id: str) -> None:
        await pilot.press("2")
        screen = pilot.screen
        assert isinstance(screen, RunsScreen)
        await pilot.wait_until(lambda: screen.table.row_count == 2)
        rows = [Path(str(row.key.value)).name for row in screen.table.ordered_rows]
        screen.table.move_cursor(row=rows.index(run_id))
        await pilot.press("enter")
        await pilot.wait_until(lambda: pilot.app.current_mode == "train" and pilot.screen.query(RunPanel))
        await pilot.wait_until(lambda: run_id in pilot.screen.query_one(RunPanel).text)

    async with open_dashboard(results) as pilot:
        await open_run(pilot, "amber-fox")
        await pilot.wait_for_text("FINISHED", "40 / 40")
        await open_run(pilot, "brave-owl")
        await pilot.wait_for_text("KILLED", "49 / 100,000")


async def test_the_header_counts_active_runs_and_tripped_guards(results: Path) -> None:
    run = add_run(results, "spikes-warned", "calm-elm")
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    run.events_path.write_bytes(b"".join(lines[:-1]))  # without the `ended` event
    with hold_lock(run):
        async with open_dashboard(results) as pilot:
            alerts = len(read_history(run).guards)
            await pilot.wait_for_text(f"● 1 active · ▲ {alerts}")


async def test_a_screen_that_is_shown_again_counts_active_runs_at_once(results: Path) -> None:
    async with open_dashboard(results, refresh_interval=NEVER) as pilot:
        await pilot.wait_until(lambda: len(pilot.app.state.watches) == 2)
        await pilot.wait_until(is_idle)
        for key, mode in zip("1234", SCREENS, strict=True):
            pilot.app.state.watches[1].state = "killed"
            await pilot.press(key)
            assert "no active runs" in pilot.screen_text().splitlines()[0], mode
            await pilot.press("2" if mode == "train" else "1")
            pilot.app.state.watches[1].state = "running"
            await pilot.press(key)
            assert "1 active" in pilot.screen_text().splitlines()[0], mode


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_exiting_prints_how_to_reattach_to_active_runs(key: str, results: Path) -> None:
    with hold_lock(run_of(results, "brave-owl")):
        async with open_dashboard(results) as pilot:
            await pilot.wait_for_text("1 active")
            await pilot.press(key)
            await pilot.wait_until(lambda: pilot.has_exited)
            assert pilot.app.return_value == "brave-owl is still running; reattach with: nanochat-tui attach brave-owl"


@pytest.mark.parametrize("is_live", [True, False])
async def test_exiting_checks_again_which_runs_are_active(is_live: bool, results: Path) -> None:
    run = run_of(results, "brave-owl")

    with hold_lock(run) if is_live else nullcontext():
        async with open_dashboard(results) as pilot:
            pilot.app.state.selected = run
            pilot.app.state.watches = []
            await pilot.app.action_quit()
            await pilot.wait_until(lambda: pilot.has_exited)
            message = "brave-owl is still running; reattach with: nanochat-tui attach brave-owl"
            assert pilot.app.return_value == (message if is_live else "")


async def test_a_repeated_toast_is_on_the_screen_once(results: Path) -> None:
    app = DashboardApp(results)
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("p", "p", "S", "escape")
        await pilot.pause()
        assert visible_toasts(app) == [
            "No run is open. Press f5 to start one, or 2 to list all runs.",
            "There is nothing to close. Press q to quit.",
        ]


async def test_exiting_without_active_runs_prints_nothing(results: Path) -> None:
    async with open_dashboard(results) as pilot:
        await pilot.press("q")
        await pilot.wait_until(lambda: pilot.has_exited)
        assert not pilot.app.return_value


async def test_a_focused_input_takes_printable_keys_and_escape_leaves_it(results: Path) -> None:
    async with open_dashboard(results) as pilot:
        entry = pilot.screen.query("SettingRow Input").first(Input)
        entry.focus()
        await pilot.press("2", "q")
        assert entry.value == "2q" and pilot.app.current_mode == "train" and not pilot.has_exited
        await pilot.press("escape")
        assert pilot.screen.focused is not entry
        await pilot.press("2")
        assert pilot.app.current_mode == "runs"


# --- sizes ------------------------------------------------------------------------------------------


def shows_the_essentials(pilot: AppPilot, mode: str, size: tuple[int, int]) -> bool:
    if size[0] < 60 or size[1] < 15:
        return True
    text = pilot.screen_text()
    if mode == "live":
        return all(words in text for words in ("amber-fox", "FINISHED", "40", "2.8983"))
    if mode == "form":
        return "Press f5 to start" in text and "Model kind" in text and "parameters" in text
    return {"runs": "amber-fox", "sample": "Text to continue", "ablate": "n "}[mode] in text


@pytest.mark.parametrize("mode", ["form", "live", "runs", "sample", "ablate"])
async def test_the_terminal_can_have_any_size_and_be_resized(mode: str, results: Path) -> None:
    given: dict[str, Any] = {"screen": {"form": "train", "live": "train"}.get(mode, mode)}
    if mode == "live":
        given["run"] = run_of(results, "amber-fox")
    async with open_dashboard(results, (80, 24), **given) as pilot:
        for size in [*SIZES, *reversed(SIZES), (200, 5), (20, 60), (120, 40), (1, 1), (200, 60), (60, 15)]:
            await pilot.resize_terminal(*size)
            await pilot.wait_until(lambda size=size: pilot.app.size == layout_size(pilot.app) == size)  # laid out
            await pilot.wait_until(lambda size=size: shows_the_essentials(pilot, mode, size))
            lines = pilot.screen_text().splitlines()
            assert len(lines) <= size[1] and all(len(line) <= size[0] for line in lines)


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_opens_at_every_size(size: tuple[int, int], results: Path) -> None:
    async with open_dashboard(results, size, run=run_of(results, "amber-fox")) as pilot:
        await pilot.wait_until(lambda: shows_the_essentials(pilot, "live", size))
        await pilot.press("S", "m", "enter", "escape", "question_mark")


# --- read-only, ASCII and colours -------------------------------------------------------------------


async def test_read_only_mode_refuses_every_action(results: Path) -> None:
    run = run_of(results, "brave-owl")

    with hold_lock(run):
        async with open_dashboard(results, run=run, readonly=True) as pilot:
            await pilot.wait_for_text("read-only")
            for key in "pSrRCEV":
                shown_before = len(pilot.app.toasts)
                await pilot.press(key)
                assert pilot.app.toasts[shown_before:] == [
                    "Read-only mode: the dashboard was started with --readonly."
                ], key
            await pilot.press("n", "f5")
            assert "Read-only mode" in pilot.app.toasts[-1]
            assert list(run.control_dir.iterdir()) == [] and len(list((results / "runs").iterdir())) == 2


def non_ascii_lines(pilot: AppPilot) -> list[str]:
    """Return the lines that are not ASCII; Textual's scroll bars do not count."""
    return [line for line in pilot.screen_text().splitlines() if not line.rstrip("▁▂▃▄▅▆▇█ ").isascii()]


@pytest.mark.parametrize("mode", SCREENS)
async def test_every_screen_is_ascii_in_ascii_mode(mode: str, results: Path) -> None:
    async with open_dashboard(results, screen=mode, ascii=True) as pilot:
        await pilot.wait_for_text("Train")
        await pilot.pause()
        assert non_ascii_lines(pilot) == []


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40)])
async def test_every_tab_of_a_run_is_ascii_in_ascii_mode(size: tuple[int, int], results: Path) -> None:
    run = add_run(results, "halted-nonfinite", "calm-elm")
    async with open_dashboard(results, size, run=run, ascii=True) as pilot:
        for key in ("v", "g", "w", "l"):
            await pilot.press(key)
            assert non_ascii_lines(pilot) == [], key


async def test_no_color_leaves_only_shades_of_grey(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_dashboard(results, run=add_run(results, "halted-spike", "calm-elm")) as pilot:
        await pilot.wait_for_text("HALTED")
        colours = {style for line in pilot.styled_lines() for _, style in line if "#" in style}
        assert pilot.app.no_color and all(is_grey(colour) for style in colours for colour in hex_colours(style)), (
            colours
        )


def hex_colours(style: str) -> list[str]:
    return [word for word in style.split() if word.startswith("#")]


def is_grey(colour: str) -> bool:
    return colour[1:3] == colour[3:5] == colour[5:7]
