"""Actions on a study: pause, resume, stop, restart; and none of them in read-only mode."""

from pathlib import Path

from ablate_screen import ablate_screen, open_study, screen_of, view_of, wait_for_preview
from app_pilot import AppPilot, add_study
from textual.widgets import TextArea

from engines.ablation.study import start_queue
from engines.runs import liveness
from screens.shared.settings_form import SettingsForm
from screens.widgets.confirm import ConfirmScreen

ENDLESS = {"steps": 10_000_000, "batch_size": 2, "eval_every": 1_000_000, "sample_tokens": 0}


def state(pilot: AppPilot) -> str:
    snapshot = view_of(pilot).snapshot
    return snapshot.row.state if snapshot else ""


def has_active_runs(pilot: AppPilot) -> bool:
    snapshot = view_of(pilot).snapshot
    return snapshot is not None and bool(snapshot.training)


async def test_an_active_study_is_paused_resumed_stopped_after_a_question_and_resumed(tmp_path: Path) -> None:
    study = add_study(tmp_path, {"lr": (0.03, 0.3)}, ENDLESS, jobs=1)
    queue = start_queue(study)
    async with ablate_screen(tmp_path / "results") as pilot:
        await open_study(pilot)
        await pilot.wait_until(lambda: has_active_runs(pilot))
        await pilot.wait_for_text("Training: lr=0.03 seed 1337")
        await pilot.press("r")
        await pilot.wait_for_toast("study-1 is already running")
        await pilot.press("p")
        await pilot.wait_until(lambda: state(pilot) == "paused")
        await pilot.press("p")
        await pilot.wait_until(lambda: state(pilot) == "running")
        await pilot.press("X")
        await pilot.wait_until(lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.wait_for_text("Stop study-1?")
        await pilot.press("n")
        assert liveness.is_lock_held(study.lock_path)
        await pilot.press("X", "y")
        await pilot.wait_until(lambda: state(pilot) == "stopped")
        queue.wait()
        await pilot.press("p")
        await pilot.wait_for_toast("study-1 is not running. Press r to resume it")
        await pilot.press("r")
        await pilot.wait_for_toast("study-1 resumes")
        await pilot.wait_until(lambda: has_active_runs(pilot) and state(pilot) == "running")
        await pilot.press("X", "y")
        await pilot.wait_until(lambda: state(pilot) == "stopped")
        await pilot.press("R")
        await wait_for_preview(pilot)


async def test_read_only_mode_refuses_every_action(results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    async with ablate_screen(results, readonly=True) as pilot:
        await open_study(pilot)
        for key in ("p", "X", "r", "w"):
            count = len(pilot.app.toasts)
            await pilot.press(key)
            assert len(pilot.app.toasts) == count + 1 and "--readonly" in pilot.app.toasts[-1], key
        await pilot.press("R")
        editor = await wait_for_preview(pilot)
        assert editor.query_one(TextArea).text == "lr=0.03,0.3" and editor.draft.options == {"seeds": "2"}
        assert editor.query_one(SettingsForm).given["steps"] == "20"
        await pilot.press("f5")
        await pilot.wait_for_toast("--readonly")
        assert "--readonly" in pilot.app.toasts[-1]
        await pilot.press("escape")
        assert screen_of(pilot).view == "study"
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before
