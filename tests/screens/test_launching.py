"""Launching, resuming, restarting and forking from the dashboard, with real workers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from builders import finished_run, make_run, write_text
from seats import PATIENCE, Seat, new_study, play

from engines.ablation.study import list_visible_studies
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.liveness import derive_state, is_lock_held
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from nanochat_tui.bench_ui.terminal import Terminal
from screens.ablate.editor import PlanEditor
from screens.ablate.screen import AblateScreen
from screens.runs.screen import RunsScreen
from screens.shared.settings_form import SettingsForm
from screens.train.new_run import NewRun
from screens.train.screen import TrainScreen

ROOT = Path(__file__).resolve().parents[2]
LONG = {"steps": 10_000_000, "eval_every": 1_000_000}


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    for process in set(psutil.Process().children(recursive=True)) - before:
        process.kill()


def state_of(run: Run) -> str:
    return derive_state(run, read_history(run))


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fill(seat: Seat, given: dict[str, object]) -> None:
    """As if it had been typed into the form's entries."""
    form = seat.screen.query_one(SettingsForm)
    form._typed |= {name: str(value) for name, value in given.items()}


def form_of(seat: Seat) -> SettingsForm:
    return seat.screen.query_one(SettingsForm)


def is_in_view(seat: Seat, view: str) -> bool:
    """Return whether the train screen shows it."""
    screen = seat.screen
    return isinstance(screen, TrainScreen) and screen.view == view and bool(screen.query_one(f"#{view}").size)


def test_f5_starts_one_run_with_what_was_typed_and_a_double_press_no_second_one(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    results = tmp_path / "results"

    async def scenario(seat: Seat) -> None:
        fill(seat, {"data": text, "steps": 12, "batch_size": 2, "sample_tokens": 0})
        seat.screen.query_one("#form").focus()
        await seat.burst("f5", "f5", "f5")
        await seat.until(lambda: list_runs(results) and state_of(list_runs(results)[0]) == "finished")
        await seat.sees("FINISHED", "12 / 12")
        assert is_in_view(seat, "live")

    play(results, scenario)
    (run,) = list_runs(results)
    assert run.config["given"]["steps"] == "12" and read_history(run).step == 12


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_r_continues_a_run_from_its_last_checkpoint(ending: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG, checkpoint_every=5)
    worker = launch(run)
    until(lambda: len(read_history(run).checkpoints) > 1)
    os.kill(worker.pid, signal.SIGTERM if ending == "stopped" else signal.SIGKILL)
    worker.wait()
    step = read_history(run).checkpoints[-1]["step"]

    async def scenario(seat: Seat) -> None:
        await seat.sees(ending.upper())
        await seat.press("r")
        await seat.hears(f"{run.id} ")
        await seat.until(lambda: len(read_history(run).runs) == 2 and state_of(run) == "running")
        await seat.until(lambda: read_history(run).step > step)
        await seat.sees("RUNNING")
        await seat.press("S", "y")
        await seat.until(lambda: not is_lock_held(run.lock_path))
        await seat.sees("STOPPED")

    play(run.path.parents[1], scenario, run=run)
    assert read_history(run).runs[-1]["start"] == 2


def test_restart_shows_a_form_with_the_runs_settings_whatever_was_in_view(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=15)
    results = run.path.parents[1]

    async def scenario(seat: Seat) -> None:
        for _ in range(2):  # first the run is in view, then the form
            await seat.press("2")
            screen = seat.screen
            assert isinstance(screen, RunsScreen)
            await seat.until(lambda screen=screen: screen.table.row_count == 1)
            await seat.burst("R", "R")
            await seat.until(lambda: is_in_view(seat, "new"))
            assert form_of(seat).given == {name: str(value) for name, value in run.config["given"].items()}
            await seat.sees("New run", "Press f5 to start")
            assert len(seat.screen.query(NewRun)) == 1
        await seat.press("f5")
        await seat.until(lambda: len(list_runs(results)) == 2)
        (new,) = [found for found in list_runs(results) if found != run]
        await seat.until(lambda: state_of(new) == "finished")
        assert new.config["resolved"] == run.config["resolved"]

    play(results, scenario, run=run)


def test_resume_with_settings_in_a_terminal_continues_as_a_new_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path, steps=10)
    before = run.events_path.read_bytes()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Terminal(["resume", run.id, "--steps", "25", "--results-dir", str(tmp_path / "results")]) as terminal:
        until(lambda: [found for found in list_runs(tmp_path / "results") if found != run])
        (fork,) = [found for found in list_runs(tmp_path / "results") if found != run]
        terminal.wait_for(fork.id, 60)
        until(lambda: state_of(fork) == "finished")
    assert run.events_path.read_bytes() == before
    assert fork.config["parent"]["run"] == run.id and fork.config["parent"]["step"] == 10
    assert fork.config["resolved"]["steps"] == 25 and read_history(fork).step == 25


def test_train_with_settings_in_a_terminal_opens_on_the_run_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, results = write_text(tmp_path), tmp_path / "results"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with Terminal(["train", "--data", str(text), "--steps", "10", "--results-dir", str(results)]) as terminal:
        until(lambda: list_runs(results))
        (run,) = list_runs(results)
        terminal.wait_for(run.id, 60)
        until(lambda: state_of(run) == "finished")
        terminal.press("q", until="\x1b[?1049l", timeout=60)
        assert terminal.process.wait(60) == 0


def test_a_study_starts_once_and_its_queue_resumes(tmp_path: Path) -> None:
    new_study(tmp_path, {"lr": (0.1, 0.3)})
    results = tmp_path / "results"

    async def scenario(seat: Seat) -> None:
        screen = seat.screen
        assert isinstance(screen, AblateScreen)
        await seat.until(lambda: screen.studies.table.row_keys)
        await seat.press("R")
        await seat.until(lambda: screen.query(PlanEditor) and screen.query_one(PlanEditor).preview)
        await seat.burst("f5", "f5")
        await seat.until(lambda: len(list_visible_studies(results)) == 2 and screen.view == "study")
        await seat.app.workers.wait_for_complete()
        assert len(list_visible_studies(results)) == 2
        await seat.until(lambda: screen.study.snapshot and screen.study.snapshot.row.state == "finished", 3 * PATIENCE)
        await seat.press("escape", "end")
        (old,) = [row for row in screen.studies.rows or () if row.state != "finished"]
        screen.studies.table.move_cursor(row=screen.studies.table.row_keys.index(old.key))
        await seat.press("r")
        await seat.until(lambda: all(row.state == "finished" for row in screen.studies.rows or ()), 3 * PATIENCE)

    play(results, scenario, screen="ablate")
