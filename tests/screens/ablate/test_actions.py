"""Actions on a study: pause, resume, stop, restart; and none of them in read-only mode."""

from pathlib import Path

from ablate_screen import ablate_screen, open_study, screen_of, view_of, wait_for_preview
from seats import Seat, new_study
from textual.widgets import TextArea

from engines.ablation.study import start_queue
from engines.runs import liveness
from screens.shared.settings_form import SettingsForm
from screens.widgets.confirm import ConfirmScreen

ENDLESS = {"steps": 10_000_000, "batch_size": 2, "eval_every": 1_000_000, "sample_tokens": 0}


def state(seat: Seat) -> str:
    snapshot = view_of(seat).snapshot
    return snapshot.row.state if snapshot else ""


def has_active_runs(seat: Seat) -> bool:
    snapshot = view_of(seat).snapshot
    return snapshot is not None and bool(snapshot.training)


async def test_an_active_study_is_paused_resumed_stopped_after_a_question_and_resumed(tmp_path: Path) -> None:
    study = new_study(tmp_path, {"lr": (0.03, 0.3)}, ENDLESS, jobs=1)
    queue = start_queue(study)
    async with ablate_screen(tmp_path / "results") as seat:
        await open_study(seat)
        await seat.until(lambda: has_active_runs(seat))
        await seat.sees("Training: lr=0.03 seed 1337")
        await seat.press("r")
        await seat.hears("study-1 is already running")
        await seat.press("p")
        await seat.until(lambda: state(seat) == "paused")
        await seat.press("p")
        await seat.until(lambda: state(seat) == "running")
        await seat.press("X")
        await seat.until(lambda: isinstance(seat.app.screen, ConfirmScreen))
        await seat.sees("Stop study-1?")
        await seat.press("n")
        assert liveness.is_lock_held(study.lock_path)
        await seat.press("X", "y")
        await seat.until(lambda: state(seat) == "stopped")
        queue.wait()
        await seat.press("p")
        await seat.hears("study-1 is not running. Press r to resume it")
        await seat.press("r")
        await seat.hears("study-1 resumes")
        await seat.until(lambda: has_active_runs(seat) and state(seat) == "running")
        await seat.press("X", "y")
        await seat.until(lambda: state(seat) == "stopped")
        await seat.press("R")
        await wait_for_preview(seat)


async def test_read_only_mode_refuses_every_action(results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    async with ablate_screen(results, readonly=True) as seat:
        await open_study(seat)
        for key in ("p", "X", "r", "w"):
            count = len(seat.app.said)
            await seat.press(key)
            assert len(seat.app.said) == count + 1 and "--readonly" in seat.app.said[-1], key
        await seat.press("R")
        editor = await wait_for_preview(seat)
        assert editor.query_one(TextArea).text == "lr=0.03,0.3" and editor.draft.options == {"seeds": "2"}
        assert editor.query_one(SettingsForm).given["steps"] == "20"
        await seat.press("f5")
        await seat.hears("--readonly")
        assert "--readonly" in seat.app.said[-1]
        await seat.press("escape")
        assert screen_of(seat).view == "study"
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before
