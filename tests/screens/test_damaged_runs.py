"""Damaged, deleted and killed runs in the dashboard."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from app_pilot import SCREENS, hold_lock, open_dashboard, run_of
from builders import make_run
from patience import wait_until

from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from screens.shared.background import is_idle
from screens.train.panel import RunPanel


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


async def test_a_deleted_run_is_not_shown_again(results: Path) -> None:
    run = run_of(results, "amber-fox")
    async with open_dashboard(results, run=run) as pilot:
        shutil.rmtree(run.path)
        await pilot.wait_for_text("its directory was deleted", "Press n for a new run")
        await pilot.press("3")
        await pilot.wait_for_text("Run not found: it was deleted. Press c")
        await pilot.press("1")
        await pilot.wait_for_text("Press f5 to start")


@pytest.mark.parametrize("mode", SCREENS)
async def test_an_unavailable_results_directory_is_reported_once(mode: str, results: Path) -> None:
    folders = [results / "runs", results / "studies"]
    folders[1].mkdir()
    async with open_dashboard(results, screen=mode) as pilot:
        await pilot.wait_until(lambda: len(pilot.app.state.watches) == 2)
        for folder in folders:
            folder.rename(results / f"{folder.name}-away")
            folder.symlink_to(folder.name)  # a link to itself, which cannot be read
        await pilot.wait_for_toast("runs cannot be read")
        pilot.app.refresh_runs()
        await pilot.wait_until(is_idle)
        assert len(pilot.app.toasts) == 1 and len(pilot.app.state.watches) == 2
        for folder in folders:
            folder.unlink()
            (results / f"{folder.name}-away").rename(folder)
        shutil.rmtree(run_of(results, "amber-fox").path)
        await pilot.wait_until(lambda: len(pilot.app.state.watches) == 1)


async def test_an_unreadable_lock_is_reported_until_it_can_be_read(results: Path) -> None:
    run = run_of(results, "brave-owl")
    async with open_dashboard(results, run=run) as pilot:
        run.lock_path.unlink(missing_ok=True)
        run.lock_path.symlink_to(run.lock_path.name)
        os.utime(run.events_path)
        await pilot.wait_for_text("run.lock cannot be read")
        run.lock_path.unlink()
        await pilot.wait_for_text("† KILLED  The worker exited unexpectedly")


async def test_an_empty_folder_is_not_an_active_run(results: Path) -> None:
    (results / "runs" / "empty").mkdir()
    async with open_dashboard(results) as pilot:
        await pilot.wait_until(lambda: len(pilot.app.state.watches) == 3)
        await pilot.wait_for_text("no active runs")


async def test_a_damaged_manifest_is_reported(results: Path) -> None:
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
def active_run(tmp_path: Path) -> Iterator[tuple[Run, int]]:
    """Yield a run that does not end by itself, and the process id of its worker."""
    run = make_run(tmp_path, steps=10_000_000, eval_every=1_000_000)
    worker = launch(run)
    try:
        yield run, worker.pid
    finally:
        worker.kill()
        worker.wait()


async def test_a_killed_worker_is_reported_with_its_log_and_how_to_resume(active_run: tuple[Run, int]) -> None:
    run, worker = active_run
    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        await pilot.wait_for_text("RUNNING")
        with open(run.log_path, "a") as log:
            log.write("the last thing it printed\n")
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        await pilot.wait_until(lambda: "† KILLED" in pilot.screen_text() and "Press r to resume" in pilot.screen_text())
        await pilot.press("l")
        await pilot.wait_for_text("the last thing it printed")


async def test_two_dashboards_show_the_same_step(active_run: tuple[Run, int]) -> None:
    run, worker = active_run
    results = run.path.parents[1]
    wait_until(lambda: read_history(run).step)
    os.kill(worker, signal.SIGSTOP)  # for now: it makes thousands of steps per second
    async with open_dashboard(results, run=run) as first, open_dashboard(results, run=run) as second:
        await first.wait_for_text("RUNNING")
        step = f"{read_history(run).step:,} / "
        await first.wait_until(lambda: step in first.screen.query_one(RunPanel).text)
        await second.wait_until(lambda: step in second.screen.query_one(RunPanel).text)
        os.kill(worker, signal.SIGCONT)
        await second.wait_until(lambda: step not in second.screen.query_one(RunPanel).text)


async def test_a_crafted_log_does_not_affect_other_runs(results: Path) -> None:
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
