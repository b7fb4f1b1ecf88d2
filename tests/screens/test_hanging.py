"""A results directory whose accesses block, as on a network drive: keys work, and the app can be closed."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from app_pilot import SCREENS, open_dashboard
from blocked_io import hanging, watched_io

from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from nanochat_tui.bench_ui.responses import HANGING
from nanochat_tui.bench_ui.terminal import Terminal
from screens.app import find_active_runs
from screens.chart import Chart
from screens.shared.background import run_in_background


@pytest.mark.parametrize("mode", SCREENS)
async def test_the_app_opens_on_a_blocked_directory_and_every_screen_works(mode: str, results: Path) -> None:
    with hanging(results) as was_blocked:
        async with open_dashboard(results, screen=mode) as pilot:
            await pilot.wait_until(was_blocked.is_set)
            for key, screen in zip("2341", ["runs", "sample", "ablate", "train"], strict=True):
                await pilot.press(key)
                await pilot.wait_until(lambda screen=screen: pilot.app.current_mode == screen)
            await pilot.press("2")
            await pilot.wait_for_text(f"Reading {results}"[:60])
            await pilot.press("question_mark")
            await pilot.wait_for_text("This screen")
            await pilot.press("escape", "q")
            await pilot.wait_until(lambda: pilot.has_exited)


async def test_every_key_of_the_live_view_works_while_its_directory_is_blocked(results: Path) -> None:
    run = Run(results / "runs" / "brave-owl")
    async with open_dashboard(results, run=run) as pilot:
        with hanging(results) as was_blocked:
            os.utime(run.events_path)
            await pilot.wait_until(was_blocked.is_set)
            chart = pilot.screen.query_one(Chart)
            assert not chart.model.is_log
            await pilot.press("y")
            await pilot.wait_until(lambda: chart.model.is_log)
            await pilot.press("g")
            await pilot.wait_for_text("No guard alerts")
            await pilot.press("m", "l", "w", "v", "r", "C", "n")
            await pilot.wait_for_text("Press f5 to start")
            await pilot.press("f5", "escape")
            await pilot.press("2", "3", "1")
            assert pilot.app.current_mode == "train"
            await pilot.press("q")
            await pilot.wait_until(lambda: pilot.has_exited)


async def test_every_key_of_the_runs_screen_works_while_its_directory_is_blocked(results: Path) -> None:
    async with open_dashboard(results, screen="runs") as pilot:
        table = pilot.screen.query_one("#table")
        await pilot.wait_until(lambda: table.row_count == 2)  # type: ignore[attr-defined]
        with hanging(results) as was_blocked:
            await pilot.wait_until(was_blocked.is_set)
            await pilot.press("down", "space", "up", "space", "v", "d")
            await pilot.wait_for_text("those that differ")
            await pilot.press("escape", "D")
            await pilot.wait_for_text("permanently?")
            await pilot.press("y", "w", "i", "escape", "g", "escape", "q")
            await pilot.wait_until(lambda: pilot.has_exited)


async def test_file_access_on_the_ui_thread_is_detected(results: Path) -> None:
    with watched_io() as blocking:
        async with open_dashboard(results):
            run = Run(results / "runs" / "amber-fox")
            WatchedRun(run).poll()  # called by a test, which is allowed
            assert blocking == []
            find_active_runs({run.id: run})
            assert blocking and "find_active_runs" in blocking[0]
            blocking.clear()


async def test_a_waiting_call_is_replaced_by_the_next_one(results: Path) -> None:
    async with open_dashboard(results) as pilot:
        begun, go, done = threading.Event(), threading.Event(), []

        def wait() -> bool:
            begun.set()
            return go.wait(60)

        run_in_background(pilot.app, wait, done.append, group="test")
        await pilot.wait_until(begun.is_set)
        for number in range(5):
            run_in_background(pilot.app, lambda number=number: number, done.append, group="test")
        go.set()
        await pilot.wait_until(lambda: len(done) == 2)
        assert done == [True, 4]
        for number in range(3):
            run_in_background(pilot.app, lambda number=number: number, done.append, group="queue", queue=True)
        await pilot.wait_until(lambda: done[2:] == [0, 1, 2])


def test_the_program_exits_while_a_directory_is_blocked(results: Path) -> None:
    with Terminal(["runs", "--results-dir", str(results)], command=(sys.executable, "-c", HANGING)) as terminal:
        terminal.wait_for("Reading", 30)
        terminal.send("q")
        deadline = time.monotonic() + 30
        while terminal.process.poll() is None:
            assert time.monotonic() < deadline, "the program waits for the directory"
            time.sleep(0.02)
        assert terminal.process.returncode == 0
