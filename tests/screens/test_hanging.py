"""A results folder that hangs, as a network drive does: keys are answered, and the app can be left."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from blocked_io import hanging, watched_io
from seats import Seat, add_run, play, seated

from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from nanochat_tui.bench_ui.responses import HANGING
from nanochat_tui.bench_ui.terminal import Terminal
from screens.app import _find_active
from screens.chart import Chart
from screens.shared.background import run_in_background

SCREENS = ["train", "runs", "sample", "ablate"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    add_run(tmp_path, "finished", "amber-fox")
    add_run(tmp_path, "killed", "brave-owl", age=8000)
    return tmp_path


@pytest.mark.parametrize("mode", SCREENS)
def test_the_app_opens_on_a_folder_that_hangs_and_every_screen_answers(mode: str, results: Path) -> None:
    async def scenario() -> None:
        with hanging(results) as asked:
            async with seated(results, screen=mode) as seat:
                await seat.until(asked.is_set)
                for key, screen in zip("2341", ["runs", "sample", "ablate", "train"], strict=True):
                    await seat.press(key)
                    await seat.until(lambda screen=screen: seat.app.current_mode == screen)
                await seat.press("2")
                await seat.sees(f"reading {results}"[:60])
                await seat.press("question_mark")
                await seat.sees("this screen")
                await seat.press("escape", "q")
                await seat.until(lambda: seat.app._exit)

    asyncio.run(scenario())


def test_a_live_view_answers_every_key_while_its_folder_hangs(results: Path) -> None:
    run = Run(results / "runs" / "brave-owl")

    async def scenario(seat: Seat) -> None:
        with hanging(results) as asked:
            os.utime(run.events_path)
            await seat.until(asked.is_set)
            chart = seat.screen.query_one(Chart)
            assert not chart.model.is_log
            await seat.press("y")
            await seat.until(lambda: chart.model.is_log)
            await seat.press("g")
            await seat.sees("no guard has tripped")
            await seat.press("m", "l", "w", "v", "r", "C", "n")
            await seat.sees("Press f5 to start")
            await seat.press("f5", "escape")
            await seat.press("2", "3", "1")
            assert seat.app.current_mode == "train"
            await seat.press("q")
            await seat.until(lambda: seat.app._exit)

    play(results, scenario, run=run)


def test_the_runs_screen_answers_every_key_while_its_folder_hangs(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        table = seat.screen.query_one("#table")
        await seat.until(lambda: table.row_count == 2)  # type: ignore[attr-defined]
        with hanging(results) as asked:
            await seat.until(asked.is_set)
            await seat.press("down", "space", "up", "space", "v", "d")
            await seat.sees("what differs")
            await seat.press("escape", "D")
            await seat.sees("permanently?")
            await seat.press("y", "w", "i", "escape", "g", "escape", "q")
            await seat.until(lambda: seat.app._exit)

    play(results, scenario, screen="runs")


def test_what_the_ui_thread_does_with_files_is_seen(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        run = Run(results / "runs" / "amber-fox")
        WatchedRun(run).poll()  # a test's own
        assert seen == []
        _find_active({run.id: run})
        assert seen and "_find_active" in seen[0]
        seen.clear()

    with watched_io() as seen:
        play(results, scenario)


def test_what_waits_is_replaced_by_what_comes_after_it(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        begun, go, done = threading.Event(), threading.Event(), []

        def wait() -> bool:
            begun.set()
            return go.wait(60)

        run_in_background(seat.app, wait, done.append, group="test")
        await seat.until(begun.is_set)
        for number in range(5):
            run_in_background(seat.app, lambda number=number: number, done.append, group="test")
        go.set()
        await seat.until(lambda: len(done) == 2)
        assert done == [True, 4]
        for number in range(3):
            run_in_background(seat.app, lambda number=number: number, done.append, group="queue", queue=True)
        await seat.until(lambda: done[2:] == [0, 1, 2])

    play(results, scenario)


def test_the_program_exits_while_a_folder_hangs(results: Path) -> None:
    with Terminal(["runs", "--results-dir", str(results)], command=(sys.executable, "-c", HANGING)) as terminal:
        terminal.wait_for("reading", 30)
        terminal.send("q")
        deadline = time.monotonic() + 30
        while terminal.process.poll() is None:
            assert time.monotonic() < deadline, "it waits for the folder"
            time.sleep(0.02)
        assert terminal.process.returncode == 0
