"""The app around the screens: going from one to another, leaving, every size of terminal, and runs that break."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from app_pilot import AppPilot, add_run, hold_lock, open_dashboard
from builders import make_run
from textual.widgets import Input
from textual_internals import layout_size, visible_toasts

from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from screens.app import DashboardApp
from screens.runs.screen import RunsScreen
from screens.shared.background import is_idle
from screens.train.panel import RunPanel

NEVER = 1e6  # seconds
SIZES = [(1, 1), (20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]
SCREENS = ["train", "runs", "sample", "ablate"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    add_run(tmp_path, "finished", "amber-fox")
    add_run(tmp_path, "killed", "brave-owl", age=8000)
    return tmp_path


def run_of(results: Path, name: str) -> Run:
    return Run(results / "runs" / name)


# --- from screen to screen --------------------------------------------------------------------------


async def test_a_screenshot_goes_to_the_results_or_says_why_not(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path / "new") as pilot:
        pilot.app.deliver_screenshot()
        await pilot.wait_for_toast(f"screenshot written: {tmp_path}/new/nanochat-tui")
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


async def test_a_run_chosen_in_the_list_is_shown_and_a_second_one_replaces_it(results: Path) -> None:
    async def choose(pilot: AppPilot, run_id: str) -> None:
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
        await choose(pilot, "amber-fox")
        await pilot.wait_for_text("FINISHED", "40 / 40")
        await choose(pilot, "brave-owl")
        await pilot.wait_for_text("KILLED", "49 / 100,000")


async def test_the_header_counts_what_lives_and_what_has_tripped(results: Path) -> None:
    run = add_run(results, "spikes-warned", "calm-elm")
    run.events_path.write_bytes(b"".join(run.events_path.read_bytes().splitlines(True)[:-1]))  # without its last word

    with hold_lock(run):
        async with open_dashboard(results) as pilot:
            trips = len(read_history(run).guards)
            await pilot.wait_for_text(f"● 1 active · ▲ {trips}")


async def test_a_screen_that_is_come_back_to_tells_at_once_what_lives(results: Path) -> None:
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
async def test_leaving_tells_how_to_come_back_to_what_goes_on(key: str, results: Path) -> None:
    with hold_lock(run_of(results, "brave-owl")):
        async with open_dashboard(results) as pilot:
            await pilot.wait_for_text("1 active")
            await pilot.press(key)
            await pilot.wait_until(lambda: pilot.has_exited)
            assert pilot.app.return_value == "brave-owl is still running; reattach with: nanochat-tui attach brave-owl"


@pytest.mark.parametrize("is_live", [True, False])
async def test_exiting_reports_a_run_that_began_or_ended_since_the_runs_were_read(is_live: bool, results: Path) -> None:
    run = run_of(results, "brave-owl")

    with hold_lock(run) if is_live else nullcontext():
        async with open_dashboard(results) as pilot:
            pilot.app.state.selected = run
            pilot.app.state.watches = []
            pilot.app.action_leave()
            await pilot.wait_until(lambda: pilot.has_exited)
            wanted = "brave-owl is still running; reattach with: nanochat-tui attach brave-owl"
            assert pilot.app.return_value == (wanted if is_live else "")


async def test_a_repeated_toast_is_on_the_screen_once(results: Path) -> None:
    app = DashboardApp(results)
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("p", "p", "S", "escape")
        await pilot.pause()
        assert visible_toasts(app) == [
            "No run is shown. Press f5 to start one, 2 to list all runs.",
            "There is nothing to close. Press q to leave.",
        ]


async def test_leaving_while_nothing_lives_says_nothing(results: Path) -> None:
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


def sees_what_matters(pilot: AppPilot, mode: str, size: tuple[int, int]) -> bool:
    if size[0] < 60 or size[1] < 15:
        return True
    seen = pilot.screen_text()
    if mode == "live":
        return all(words in seen for words in ("amber-fox", "FINISHED", "40", "2.8983"))
    if mode == "form":
        return "Press f5 to start" in seen and "Model kind" in seen and "parameters" in seen
    return {"runs": "amber-fox", "sample": "Text to continue", "ablate": "n "}[mode] in seen


@pytest.mark.parametrize("mode", ["form", "live", "runs", "sample", "ablate"])
async def test_every_size_and_every_change_of_size_is_survived(mode: str, results: Path) -> None:
    given: dict[str, Any] = {"screen": {"form": "train", "live": "train"}.get(mode, mode)}
    if mode == "live":
        given["run"] = run_of(results, "amber-fox")

    async with open_dashboard(results, (80, 24), **given) as pilot:
        for size in [*SIZES, *reversed(SIZES), (200, 5), (20, 60), (120, 40), (1, 1), (200, 60), (60, 15)]:
            await pilot.resize_terminal(*size)
            await pilot.wait_until(lambda size=size: pilot.app.size == layout_size(pilot.app) == size)  # it is laid out
            await pilot.wait_until(lambda size=size: sees_what_matters(pilot, mode, size))
            lines = pilot.screen_text().splitlines()
            assert len(lines) <= size[1] and all(len(line) <= size[0] for line in lines)


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_opens_at_every_size(size: tuple[int, int], results: Path) -> None:
    async with open_dashboard(results, size, run=run_of(results, "amber-fox")) as pilot:
        await pilot.wait_until(lambda: sees_what_matters(pilot, "live", size))
        await pilot.press("S", "m", "enter", "escape", "question_mark")


# --- what may be done, and in which letters ---------------------------------------------------------


async def test_readonly_refuses_every_order(results: Path) -> None:
    run = run_of(results, "brave-owl")

    with hold_lock(run):
        async with open_dashboard(results, run=run, readonly=True) as pilot:
            await pilot.wait_for_text("read-only")
            for key in "pSrRCEV":
                shown_before = len(pilot.app.toasts)
                await pilot.press(key)
                assert pilot.app.toasts[shown_before:] == [
                    "read-only mode: the dashboard was started with --readonly."
                ], key
            await pilot.press("n", "f5")
            assert "read-only mode" in pilot.app.toasts[-1]
            assert list(run.control_dir.iterdir()) == [] and len(list((results / "runs").iterdir())) == 2


def not_ascii(pilot: AppPilot) -> list[str]:
    """Textual's scrollbars left out."""
    return [line for line in pilot.screen_text().splitlines() if not line.rstrip("▁▂▃▄▅▆▇█ ").isascii()]


@pytest.mark.parametrize("mode", SCREENS)
async def test_in_ascii_there_is_nothing_else(mode: str, results: Path) -> None:
    async with open_dashboard(results, screen=mode, ascii=True) as pilot:
        await pilot.wait_for_text("Train")
        await pilot.pause()
        assert not_ascii(pilot) == []


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40)])
async def test_a_run_in_ascii_has_nothing_else(size: tuple[int, int], results: Path) -> None:
    run = add_run(results, "halted-nonfinite", "calm-elm")

    async with open_dashboard(results, size, run=run, ascii=True) as pilot:
        for key in ("v", "g", "w", "l"):
            await pilot.press(key)
            assert not_ascii(pilot) == [], key


async def test_without_colours_nothing_is_told_by_colour_alone(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- runs that break --------------------------------------------------------------------------------


def delete(run: Run) -> None:
    shutil.rmtree(run.path)


def truncate(run: Run) -> None:
    run.events_path.write_bytes(b"".join(run.events_path.read_bytes().splitlines(True)[:4]))


def fill_with_garbage(run: Run) -> None:
    with open(run.events_path, "ab") as file:
        file.write(b"\x00\xff\xfe not an event\n{}\n[]\n" * 20)


def write_newer(run: Run) -> None:
    with open(run.events_path, "a") as file:
        file.write(json.dumps({"v": 99, "t": 1.0, "kind": "later"}) + "\n")


BROKEN = {
    delete: "its directory was deleted",
    truncate: "was replaced or truncated",
    fill_with_garbage: "lines of events.jsonl could not be read",
    write_newer: "newer version of nanochat-tui",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda act: act.__name__)
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "ended"])
async def test_damage_to_the_shown_run_is_reported(
    break_it: Callable[[Run], None], is_live: bool, results: Path
) -> None:
    run = run_of(results, "brave-owl")
    with hold_lock(run) if is_live else nullcontext():
        async with open_dashboard(results, run=run) as pilot:
            await pilot.wait_for_text("RUNNING" if is_live else "KILLED")
            break_it(run)
            await pilot.wait_for_text(BROKEN[break_it])
            await pilot.press("r", "C", "g", "l")
            await pilot.wait_for_text(BROKEN[break_it])


async def test_a_run_that_was_deleted_is_not_come_back_to(results: Path) -> None:
    run = run_of(results, "amber-fox")

    async with open_dashboard(results, run=run) as pilot:
        shutil.rmtree(run.path)
        await pilot.wait_for_text("its directory was deleted", "Press n for a new run")
        await pilot.press("3")
        await pilot.wait_for_text("Run not found: it was deleted. Press c")
        await pilot.press("1")
        await pilot.wait_for_text("Press f5 to start")


@pytest.mark.parametrize("mode", SCREENS)
async def test_a_results_directory_that_is_away_for_a_while_is_told_once(mode: str, results: Path) -> None:
    folders = [results / "runs", results / "studies"]
    folders[1].mkdir()

    async with open_dashboard(results, screen=mode) as pilot:
        await pilot.wait_until(lambda: len(pilot.app.state.watches) == 2)
        for folder in folders:
            folder.rename(results / f"{folder.name}-away")
            folder.symlink_to(folder.name)  # a ring, which cannot be read
        await pilot.wait_for_toast("runs cannot be read")
        pilot.app.refresh_runs()
        await pilot.wait_until(is_idle)
        assert len(pilot.app.toasts) == 1 and len(pilot.app.state.watches) == 2
        for folder in folders:
            folder.unlink()
            (results / f"{folder.name}-away").rename(folder)
        shutil.rmtree(run_of(results, "amber-fox").path)
        await pilot.wait_until(lambda: len(pilot.app.state.watches) == 1)


async def test_a_lock_that_cannot_be_looked_at_for_a_while_is_told_until_it_can(results: Path) -> None:
    run = run_of(results, "brave-owl")

    async with open_dashboard(results, run=run) as pilot:
        run.lock_path.unlink(missing_ok=True)
        run.lock_path.symlink_to(run.lock_path.name)
        os.utime(run.events_path)
        await pilot.wait_for_text("run.lock cannot be read")
        run.lock_path.unlink()
        await pilot.wait_for_text("† KILLED  The worker exited unexpectedly")


async def test_a_folder_without_a_run_in_it_does_not_live(results: Path) -> None:
    (results / "runs" / "empty").mkdir()

    async with open_dashboard(results) as pilot:
        await pilot.wait_until(lambda: len(pilot.app.state.watches) == 3)
        await pilot.wait_for_text("no active runs")


async def test_a_damaged_manifest_is_told(results: Path) -> None:
    run = run_of(results, "amber-fox")
    run.config_path.write_text("{not json")

    async with open_dashboard(results, run=run) as pilot:
        await pilot.wait_until(
            lambda: "run amber-fox cannot be read: config.json in" in " ".join(pilot.screen_text().split())
        )
        await pilot.press("R")
        await pilot.wait_for_toast("amber-fox cannot be restarted")


# --- real workers -----------------------------------------------------------------------------------


@pytest.fixture
def living(tmp_path: Path) -> Iterator[tuple[Run, int]]:
    """A run that goes on until somebody ends it, and its worker's process id."""
    run = make_run(tmp_path, steps=10_000_000, eval_every=1_000_000)
    worker = launch(run)
    try:
        yield run, worker.pid
    finally:
        worker.kill()
        worker.wait()


async def test_a_killed_worker_is_told_with_its_last_words_and_the_way_back(living: tuple[Run, int]) -> None:
    run, worker = living

    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        await pilot.wait_for_text("RUNNING")
        with open(run.log_path, "a") as log:
            log.write("the last thing it printed\n")
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        await pilot.wait_until(lambda: "† KILLED" in pilot.screen_text() and "Press r to resume" in pilot.screen_text())
        await pilot.press("l")
        await pilot.wait_for_text("the last thing it printed")


async def test_two_at_the_same_time_show_the_same_step(living: tuple[Run, int]) -> None:
    run, worker = living

    results = run.path.parents[1]
    async with open_dashboard(results, run=run) as one, open_dashboard(results, run=run) as other:
        await one.sees("RUNNING")
        os.kill(worker, signal.SIGSTOP)
        step = f"{read_history(run).step:,} / "
        await one.until(lambda: step in one.screen.query_one(RunPanel).text)
        await other.until(lambda: step in other.screen.query_one(RunPanel).text)
        os.kill(worker, signal.SIGCONT)
        await other.until(lambda: step not in other.screen.query_one(RunPanel).text)


async def test_a_crafted_run_disturbs_no_view_of_others(results: Path) -> None:
    run = run_of(results, "brave-owl")
    with open(run.events_path, "ab") as log:
        for step in (2**53, 2**62):
            log.write(json.dumps({"v": 1, "t": 1e9, "kind": "eval", "step": step, "loss": 1e308, "bpb": -1e308,
                                  "tokens": 1, "bytes": 0, "seconds": 1e9, "best": True}).encode() + b"\n")  # fmt: skip
        for step in (-7, 10**15):
            log.write(
                json.dumps({"v": 1, "t": 1, "kind": "resumed", "from_step": step, "reason": "x"}).encode() + b"\n"
            )

    async with open_dashboard(results, run=run) as pilot:
        await pilot.wait_for_text("3 lines of events.jsonl could not be read")
        await pilot.press("2")
        await pilot.wait_for_text("amber-fox", "brave-owl")
