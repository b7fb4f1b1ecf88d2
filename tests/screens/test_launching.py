"""Launching, resuming, restarting and forking from the dashboard, with real workers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from app_pilot import PATIENCE, AppPilot, add_study, open_dashboard
from builders import finished_run, make_run, write_text

from engines.ablation.study import list_visible_studies
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.liveness import derive_state, is_lock_held
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from nanochat_tui.bench_ui.terminal import Terminal
from screens.ablate.editor import PlanEditor
from screens.ablate.screen import AblateScreen
from screens.messages import FormRequested
from screens.runs.screen import RunsScreen
from screens.shared.settings_form import SettingsForm
from screens.train.new_run import NewRun
from screens.train.screen import TrainScreen

ROOT = Path(__file__).resolve().parents[2]
LONG = {"steps": 10_000_000, "eval_every": 1_000_000}


@pytest.fixture(autouse=True)
def kill_started_workers() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    for process in set(psutil.Process().children(recursive=True)) - before:
        process.kill()


def state_of(run: Run) -> str:
    return derive_state(run, read_history(run))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def fill_form(pilot: AppPilot, given: dict[str, object]) -> None:
    """Open the form of a new run with these settings, as restarting a run does."""
    pilot.app.post_message(FormRequested(given))
    expected = {name: str(value) for name, value in given.items()}
    await pilot.wait_until(lambda: pilot.screen.query(SettingsForm) and form_of(pilot).given == expected)


def form_of(pilot: AppPilot) -> SettingsForm:
    return pilot.screen.query_one(SettingsForm)


def is_view_shown(pilot: AppPilot, view: str) -> bool:
    """Return whether the train screen is in front and shows the view `live` or `new`."""
    screen = pilot.screen
    return isinstance(screen, TrainScreen) and screen.view == view and bool(screen.query_one(f"#{view}").size)


async def test_f5_pressed_several_times_starts_one_run_with_the_settings_of_the_form(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    results = tmp_path / "results"
    async with open_dashboard(results) as pilot:
        await fill_form(pilot, {"data": text, "steps": 12, "batch_size": 2, "sample_tokens": 0})
        pilot.screen.query_one("#form").focus()
        await pilot.press_at_once("f5", "f5", "f5")
        await pilot.wait_until(lambda: list_runs(results) and state_of(list_runs(results)[0]) == "finished")
        await pilot.wait_for_text("FINISHED", "12 / 12")
        assert is_view_shown(pilot, "live")
    (run,) = list_runs(results)
    assert run.config["given"]["steps"] == "12" and read_history(run).step == 12


@pytest.mark.parametrize("ending", ["stopped", "killed"])
async def test_r_resumes_a_run_from_its_last_checkpoint(ending: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG, checkpoint_every=5)
    worker = launch(run)
    wait_until(lambda: len(read_history(run).checkpoints) > 1)
    os.kill(worker.pid, signal.SIGTERM if ending == "stopped" else signal.SIGKILL)
    worker.wait()
    step = read_history(run).checkpoints[-1]["step"]
    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        await pilot.wait_for_text(ending.upper())
        await pilot.press("r")
        await pilot.wait_for_toast(f"{run.id} ")
        await pilot.wait_until(lambda: len(read_history(run).runs) == 2 and state_of(run) == "running")
        await pilot.wait_until(lambda: read_history(run).step > step)
        await pilot.wait_for_text("RUNNING")
        await pilot.press("S", "y")
        await pilot.wait_until(lambda: not is_lock_held(run.lock_path))
        await pilot.wait_for_text("STOPPED")
    assert read_history(run).runs[-1]["start"] == 2


async def test_restart_shows_the_form_with_the_settings_of_the_run(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=15)
    results = run.path.parents[1]
    async with open_dashboard(results, run=run) as pilot:
        for _ in range(2):  # first with the live view open, then with the form
            await pilot.press("2")
            screen = pilot.screen
            assert isinstance(screen, RunsScreen)
            await pilot.wait_until(lambda screen=screen: screen.table.row_count == 1)
            await pilot.press_at_once("R", "R")
            await pilot.wait_until(lambda: is_view_shown(pilot, "new"))
            assert form_of(pilot).given == {name: str(value) for name, value in run.config["given"].items()}
            await pilot.wait_for_text("New run", "Press f5 to start")
            assert len(pilot.screen.query(NewRun)) == 1
        await pilot.press("f5")
        await pilot.wait_until(lambda: len(list_runs(results)) == 2)
        (new,) = [found for found in list_runs(results) if found != run]
        await pilot.wait_until(lambda: state_of(new) == "finished")
        assert new.config["resolved"] == run.config["resolved"]


def test_resume_with_settings_in_a_terminal_continues_as_a_new_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path, steps=10)
    before = run.events_path.read_bytes()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Terminal(["resume", run.id, "--steps", "25", "--results-dir", str(tmp_path / "results")]) as terminal:
        wait_until(lambda: [found for found in list_runs(tmp_path / "results") if found != run])
        (fork,) = [found for found in list_runs(tmp_path / "results") if found != run]
        terminal.wait_for(fork.id, 60)
        wait_until(lambda: state_of(fork) == "finished")
    assert run.events_path.read_bytes() == before
    assert fork.config["parent"]["run"] == run.id and fork.config["parent"]["step"] == 10
    assert fork.config["resolved"]["steps"] == 25 and read_history(fork).step == 25


def test_train_with_settings_in_a_terminal_opens_on_the_run_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, results = write_text(tmp_path), tmp_path / "results"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Terminal(["train", "--data", str(text), "--steps", "10", "--results-dir", str(results)]) as terminal:
        wait_until(lambda: list_runs(results))
        (run,) = list_runs(results)
        terminal.wait_for(run.id, 60)
        wait_until(lambda: state_of(run) == "finished")
        terminal.press("q", until="\x1b[?1049l", timeout=60)
        assert terminal.process.wait(60) == 0


async def test_a_study_starts_once_and_its_queue_resumes(tmp_path: Path) -> None:
    add_study(tmp_path, {"lr": (0.1, 0.3)})
    results = tmp_path / "results"
    async with open_dashboard(results, screen="ablate") as pilot:
        screen = pilot.screen
        assert isinstance(screen, AblateScreen)
        await pilot.wait_until(lambda: screen.studies.table.row_keys)
        await pilot.press("R")
        await pilot.wait_until(lambda: screen.query(PlanEditor) and screen.query_one(PlanEditor).preview)
        await pilot.press_at_once("f5", "f5")
        await pilot.wait_until(lambda: len(list_visible_studies(results)) == 2 and screen.view == "study")
        await pilot.app.workers.wait_for_complete()
        assert len(list_visible_studies(results)) == 2
        await pilot.wait_until(
            lambda: screen.study.snapshot and screen.study.snapshot.row.state == "finished", 3 * PATIENCE
        )
        await pilot.press("escape", "end")
        (old,) = [row for row in screen.studies.rows or () if row.state != "finished"]
        screen.studies.table.move_cursor(row=screen.studies.table.row_keys.index(old.key))
        await pilot.press("r")
        await pilot.wait_until(lambda: all(row.state == "finished" for row in screen.studies.rows or ()), 3 * PATIENCE)
