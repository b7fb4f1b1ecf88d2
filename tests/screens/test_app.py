"""The app around the screens: going from one to another, leaving, every size of terminal, and runs that break."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from builders import make_run
from seats import Seat, add_run, held, play, seated
from textual.widgets import Input

from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from screens.app import DashboardApp
from screens.runs.screen import RunsScreen
from screens.shared.background import is_idle
from screens.train.panel import RunPanel

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


def test_a_screenshot_goes_to_the_results_or_says_why_not(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        seat.app.deliver_screenshot()
        await seat.hears(f"screenshot written: {tmp_path}/new/nanochat-tui")
        (shot,) = (tmp_path / "new").glob("nanochat-tui*.svg")
        assert "Train" in shot.read_text()
        (tmp_path / "file").touch()
        seat.app.deliver_screenshot(path=f"{tmp_path}/file/in")
        await seat.hears("cannot be written: a part of the path is not a directory.")

    play(tmp_path / "new", scenario)


def test_the_number_keys_switch_screens(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        for key, mode in zip("2341", ["runs", "sample", "ablate", "train"], strict=True):
            await seat.press(key)
            assert seat.app.current_mode == mode
        await seat.press("1")
        await seat.hears("The train screen is already open")

    play(results, scenario)


def test_a_run_chosen_in_the_list_is_shown_and_a_second_one_replaces_it(results: Path) -> None:
    async def choose(seat: Seat, run_id: str) -> None:
        await seat.press("2")
        screen = seat.screen
        assert isinstance(screen, RunsScreen)
        await seat.until(lambda: screen.table.row_count == 2)
        rows = [Path(str(row.key.value)).name for row in screen.table.ordered_rows]
        screen.table.move_cursor(row=rows.index(run_id))
        await seat.press("enter")
        await seat.until(lambda: seat.app.current_mode == "train" and seat.screen.query(RunPanel))
        await seat.until(lambda: run_id in seat.screen.query_one(RunPanel).text)

    async def scenario(seat: Seat) -> None:
        await choose(seat, "amber-fox")
        await seat.sees("FINISHED", "40 / 40")
        await choose(seat, "brave-owl")
        await seat.sees("KILLED", "49 / 100,000")

    play(results, scenario)


def test_the_header_counts_what_lives_and_what_has_tripped(results: Path) -> None:
    run = add_run(results, "spikes-warned", "calm-elm")
    run.events_path.write_bytes(b"".join(run.events_path.read_bytes().splitlines(True)[:-1]))  # without its last word

    async def scenario(seat: Seat) -> None:
        trips = len(read_history(run).guards)
        await seat.sees(f"● 1 active · ▲ {trips}")

    with held(run):
        play(results, scenario)


def test_a_screen_that_is_come_back_to_tells_at_once_what_lives(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: len(seat.app.state.watches) == 2)
        seat.app._refresh_timer.pause()  # nothing more is read from here on
        await seat.until(is_idle)
        for key, mode in zip("1234", SCREENS, strict=True):
            seat.app.state.watches[1].state = "killed"
            await seat.press(key)
            assert "no active runs" in seat.seen().splitlines()[0], mode
            await seat.press("2" if mode == "train" else "1")
            seat.app.state.watches[1].state = "running"
            await seat.press(key)
            assert "1 active" in seat.seen().splitlines()[0], mode

    play(results, scenario)


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
def test_leaving_tells_how_to_come_back_to_what_goes_on(key: str, results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.sees("1 active")
        await seat.press(key)
        await seat.until(lambda: seat.app._exit)
        assert seat.app.return_value == "brave-owl is still running; reattach with: nanochat-tui attach brave-owl"

    with held(run_of(results, "brave-owl")):
        play(results, scenario)


@pytest.mark.parametrize("is_live", [True, False])
def test_exiting_reports_a_run_that_began_or_ended_since_the_runs_were_read(is_live: bool, results: Path) -> None:
    run = run_of(results, "brave-owl")

    async def scenario(seat: Seat) -> None:
        seat.app.state.selected = run
        seat.app.state.watches = []
        seat.app.action_leave()
        await seat.until(lambda: seat.app._exit)
        wanted = "brave-owl is still running; reattach with: nanochat-tui attach brave-owl"
        assert seat.app.return_value == (wanted if is_live else "")

    with held(run) if is_live else nullcontext():
        play(results, scenario)


def test_a_sentence_said_again_stands_on_the_screen_once(results: Path) -> None:
    async def scenario() -> list[str]:
        app = DashboardApp(results)
        async with app.run_test(notifications=True) as pilot:
            await pilot.press("p", "p", "S", "escape")
            await pilot.pause()
            return [said.message for said in app._notifications]

    nothing_to_command = "No run is shown. Press f5 to start one, 2 to list all runs."
    assert asyncio.run(scenario()) == [nothing_to_command, "There is nothing to close. Press q to leave."]


def test_leaving_while_nothing_lives_says_nothing(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.press("q")
        await seat.until(lambda: seat.app._exit)
        assert not seat.app.return_value

    play(results, scenario)


def test_a_focused_input_takes_printable_keys_and_escape_leaves_it(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        entry = seat.screen.query("SettingRow Input").first(Input)
        entry.focus()
        await seat.press("2", "q")
        assert entry.value == "2q" and seat.app.current_mode == "train" and not seat.app._exit
        await seat.press("escape")
        assert seat.screen.focused is not entry
        await seat.press("2")
        assert seat.app.current_mode == "runs"

    play(results, scenario)


# --- sizes ------------------------------------------------------------------------------------------


def sees_what_matters(seat: Seat, mode: str, size: tuple[int, int]) -> bool:
    if size[0] < 60 or size[1] < 15:
        return True
    seen = seat.seen()
    if mode == "live":
        return all(words in seen for words in ("amber-fox", "FINISHED", "40", "2.8983"))
    if mode == "form":
        return "Press f5 to start" in seen and "Model kind" in seen and "parameters" in seen
    return {"runs": "amber-fox", "sample": "Text to continue", "ablate": "n "}[mode] in seen


@pytest.mark.parametrize("mode", ["form", "live", "runs", "sample", "ablate"])
def test_every_size_and_every_change_of_size_is_survived(mode: str, results: Path) -> None:
    given: dict[str, Any] = {"screen": {"form": "train", "live": "train"}.get(mode, mode)}
    if mode == "live":
        given["run"] = run_of(results, "amber-fox")

    async def scenario(seat: Seat) -> None:
        for size in [*SIZES, *reversed(SIZES), (200, 5), (20, 60), (120, 40), (1, 1), (200, 60), (60, 15)]:
            await seat.pilot.resize_terminal(*size)
            await seat.until(lambda size=size: seat.app.size == seat.screen._compositor.size == size)  # it is laid out
            await seat.until(lambda size=size: sees_what_matters(seat, mode, size))
            lines = seat.seen().splitlines()
            assert len(lines) <= size[1] and all(len(line) <= size[0] for line in lines)

    play(results, scenario, (80, 24), **given)


@pytest.mark.parametrize("size", SIZES)
def test_a_run_opens_at_every_size(size: tuple[int, int], results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: sees_what_matters(seat, "live", size))
        await seat.press("S", "m", "enter", "escape", "question_mark")

    play(results, scenario, size, run=run_of(results, "amber-fox"))


# --- what may be done, and in which letters ---------------------------------------------------------


def test_readonly_refuses_every_order(results: Path) -> None:
    run = run_of(results, "brave-owl")

    async def scenario(seat: Seat) -> None:
        await seat.sees("read-only")
        for key in "pSrRCEV":
            said = len(seat.app.said)
            await seat.press(key)
            assert seat.app.said[said:] == ["read-only mode: the dashboard was started with --readonly."], key
        await seat.press("n", "f5")
        assert "read-only mode" in seat.app.said[-1]
        assert list(run.control_dir.iterdir()) == [] and len(list((results / "runs").iterdir())) == 2

    with held(run):
        play(results, scenario, run=run, readonly=True)


def not_ascii(seat: Seat) -> list[str]:
    """Textual's scrollbars left out."""
    return [line for line in seat.seen().splitlines() if not line.rstrip("▁▂▃▄▅▆▇█ ").isascii()]


@pytest.mark.parametrize("mode", SCREENS)
def test_in_ascii_there_is_nothing_else(mode: str, results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.sees("Train")
        await seat.pilot.pause()
        assert not_ascii(seat) == []

    play(results, scenario, screen=mode, ascii=True)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40)])
def test_a_run_in_ascii_has_nothing_else(size: tuple[int, int], results: Path) -> None:
    run = add_run(results, "halted-nonfinite", "calm-elm")

    async def scenario(seat: Seat) -> None:
        for key in ("v", "g", "w", "l"):
            await seat.press(key)
            assert not_ascii(seat) == [], key

    play(results, scenario, size, run=run, ascii=True)


def test_without_colours_nothing_is_told_by_colour_alone(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scenario(seat: Seat) -> None:
        await seat.sees("HALTED")
        colours = {style for line in seat.painted() for _, style in line if "#" in style}
        assert seat.app.no_color and all(is_grey(colour) for style in colours for colour in hex_colours(style)), colours

    play(results, scenario, run=add_run(results, "halted-spike", "calm-elm"))


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
@pytest.mark.parametrize("live", [True, False], ids=["live", "ended"])
def test_a_run_that_breaks_in_view_is_told(break_it: Callable[[Run], None], live: bool, results: Path) -> None:
    run = run_of(results, "brave-owl")

    async def scenario(seat: Seat) -> None:
        await seat.sees("RUNNING" if live else "KILLED")
        break_it(run)
        await seat.sees(BROKEN[break_it])
        await seat.press("r", "C", "g", "l")
        await seat.sees(BROKEN[break_it])

    if live:
        with held(run):
            play(results, scenario, run=run)
    else:
        play(results, scenario, run=run)


def test_a_run_that_was_deleted_is_not_come_back_to(results: Path) -> None:
    run = run_of(results, "amber-fox")

    async def scenario(seat: Seat) -> None:
        shutil.rmtree(run.path)
        await seat.sees("its directory was deleted", "Press n for a new run")
        await seat.press("3")
        await seat.sees("Run not found: it was deleted. Press c")
        await seat.press("1")
        await seat.sees("Press f5 to start")

    play(results, scenario, run=run)


@pytest.mark.parametrize("mode", SCREENS)
def test_a_results_directory_that_is_away_for_a_while_is_told_once(mode: str, results: Path) -> None:
    folders = [results / "runs", results / "studies"]
    folders[1].mkdir()

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: len(seat.app.state.watches) == 2)
        for folder in folders:
            folder.rename(results / f"{folder.name}-away")
            folder.symlink_to(folder.name)  # a ring, which cannot be read
        await seat.hears("runs cannot be read")
        seat.app._refresh_runs()
        await seat.until(is_idle)
        assert len(seat.app.said) == 1 and len(seat.app.state.watches) == 2
        for folder in folders:
            folder.unlink()
            (results / f"{folder.name}-away").rename(folder)
        shutil.rmtree(run_of(results, "amber-fox").path)
        await seat.until(lambda: len(seat.app.state.watches) == 1)

    play(results, scenario, screen=mode)


def test_a_lock_that_cannot_be_looked_at_for_a_while_is_told_until_it_can(results: Path) -> None:
    run = run_of(results, "brave-owl")

    async def scenario(seat: Seat) -> None:
        run.lock_path.unlink(missing_ok=True)
        run.lock_path.symlink_to(run.lock_path.name)
        os.utime(run.events_path)
        await seat.sees("run.lock cannot be read")
        run.lock_path.unlink()
        await seat.sees("† KILLED  The worker exited unexpectedly")

    play(results, scenario, run=run)


def test_a_folder_without_a_run_in_it_does_not_live(results: Path) -> None:
    (results / "runs" / "empty").mkdir()

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: len(seat.app.state.watches) == 3)
        await seat.sees("no active runs")

    play(results, scenario)


def test_a_damaged_manifest_is_told(results: Path) -> None:
    run = run_of(results, "amber-fox")
    run.config_path.write_text("{not json")

    async def scenario(seat: Seat) -> None:
        await seat.until(lambda: "run amber-fox cannot be read: config.json in" in " ".join(seat.seen().split()))
        await seat.press("R")
        await seat.hears("amber-fox cannot be restarted")

    play(results, scenario, run=run)


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


def test_a_killed_worker_is_told_with_its_last_words_and_the_way_back(living: tuple[Run, int]) -> None:
    run, worker = living

    async def scenario(seat: Seat) -> None:
        await seat.sees("RUNNING")
        with open(run.log_path, "a") as log:
            log.write("the last thing it printed\n")
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        await seat.until(lambda: "† KILLED" in seat.seen() and "Press r to resume" in seat.seen())
        await seat.press("l")
        await seat.sees("the last thing it printed")

    play(run.path.parents[1], scenario, run=run)


def test_two_at_the_same_time_show_the_same_step(living: tuple[Run, int]) -> None:
    run, worker = living

    async def both() -> None:
        results = run.path.parents[1]
        async with seated(results, run=run) as one, seated(results, run=run) as other:
            await one.sees("RUNNING")
            os.kill(worker, signal.SIGSTOP)
            step = f"{read_history(run).step:,} / "
            await one.until(lambda: step in one.screen.query_one(RunPanel).text)
            await other.until(lambda: step in other.screen.query_one(RunPanel).text)
            os.kill(worker, signal.SIGCONT)
            await other.until(lambda: step not in other.screen.query_one(RunPanel).text)

    asyncio.run(both())


def test_a_crafted_run_disturbs_no_view_of_others(results: Path) -> None:
    run = run_of(results, "brave-owl")
    with open(run.events_path, "ab") as log:
        for step in (2**53, 2**62):
            log.write(json.dumps({"v": 1, "t": 1e9, "kind": "eval", "step": step, "loss": 1e308, "bpb": -1e308,
                                  "tokens": 1, "bytes": 0, "seconds": 1e9, "best": True}).encode() + b"\n")  # fmt: skip
        for step in (-7, 10**15):
            log.write(
                json.dumps({"v": 1, "t": 1, "kind": "resumed", "from_step": step, "reason": "x"}).encode() + b"\n"
            )

    async def scenario(seat: Seat) -> None:
        await seat.sees("3 lines of events.jsonl could not be read")
        await seat.press("2")
        await seat.sees("amber-fox", "brave-owl")

    play(results, scenario, run=run)
