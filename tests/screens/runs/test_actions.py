"""Actions on a run: other screens, pages, reports, and control."""

import json
from pathlib import Path

from app_pilot import add_run, append_events, hold_lock
from builders import make_run
from patience import PATIENCE
from runs_screen import open_runs

from engines.runs.launch import launch
from engines.runs.lookup import add_used_results_dir
from engines.runs.store import Run
from screens.messages import FormRequested, RunSelected, SampleRequested
from screens.runs.compare import CompareScreen
from screens.runs.page import TextPage
from screens.widgets.confirm import ConfirmScreen

SIZES = [(20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]


# --- other screens and pages ----------------------------------------------------------------------


async def test_keys_open_other_screens(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("enter", "t", "R")
        await pilot.pause()
        chosen, sample, form = pilot.app.requests
        assert isinstance(chosen, RunSelected) and chosen.run.id == "amber-fox"
        assert isinstance(sample, SampleRequested) and sample.run.id == "amber-fox"
        assert isinstance(form, FormRequested) and form.given["steps"] == 40 and form.given["data"] == "/lab/text.txt"
        await pilot.select_run("deep-moss")
        await pilot.press("t")
        assert "deep-moss has no checkpoint" in pilot.app.toasts[-1]


async def test_pages_show_guards_and_details(results: Path) -> None:
    async with open_runs(results, (80, 24)) as pilot:
        await pilot.select_run("calm-elm")
        await pilot.press("g")
        assert isinstance(pilot.app.screen, TextPage)
        await pilot.wait_until(lambda: "spike" in pilot.screen_text() and "Threshold" in pilot.screen_text())
        await pilot.press("escape", "i")
        await pilot.wait_until(lambda: "nanochat-tui sample calm-elm" in pilot.screen_text())
        await pilot.press("escape")
        assert pilot.app.screen is pilot.screen


async def test_control_characters_in_run_files_do_not_reach_the_terminal(results: Path) -> None:
    run = add_run(results, "finished", "early-bird", age=1.0, data="\x1b[31mred.txt")
    sample = {"t": 99.0, "kind": "sample", "step": 40, "prompt": "\x1b[2J", "text": "a\x00b\x07c", "seconds": 0.1}
    append_events(run, sample)
    async with open_runs(results, (200, 60)) as pilot:
        await pilot.wait_until(
            lambda: "\u241b[2Ja\u2400b\u2407c" in pilot.screen_text() and "\u241b[31mred.txt" in pilot.screen_text()
        )
        await pilot.press("space", "down", "d")
        await pilot.wait_until(lambda: isinstance(pilot.app.screen, CompareScreen) and "red.txt" in pilot.screen_text())
        assert not {"\x1b", "\x00", "\x07"} & set(pilot.screen_text())


# --- actions on runs ------------------------------------------------------------------------------


async def test_deleting_has_to_be_confirmed(results: Path) -> None:
    doomed = results / "runs" / "amber-fox"
    async with open_runs(results) as pilot:
        await pilot.press("D")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        assert "Delete amber-fox permanently?" in pilot.screen_text() and "Delete (y)" in pilot.screen_text()
        await pilot.press("n")
        assert doomed.exists() and pilot.app.screen is pilot.screen
        await pilot.press("delete", "enter")  # the answer `no` has the focus
        assert doomed.exists()
        await pilot.press("D", "y")
        await pilot.wait_for_toast("Deleted run amber-fox")
        assert not doomed.exists()
        await pilot.refresh()
        assert "amber-fox" not in pilot.ids and len(pilot.app.toasts) == 1


async def test_the_report_is_written_and_its_path_shown(results: Path) -> None:
    (results / "runs" / "calm-elm" / "config.json").write_text("{")
    async with open_runs(results) as pilot:
        await pilot.select_run("brave-owl")
        await pilot.press("w")
        page = results / "reports" / "brave-owl.html"
        await pilot.wait_for_toast(f"Report written: {page}, with its plots")
        assert pilot.app.toasts[0] == "Writing the report of brave-owl …" and "Run brave-owl" in page.read_text()
        await pilot.select_run("calm-elm")
        await pilot.press("w")
        await pilot.wait_for_toast("calm-elm cannot be reported: ")


async def test_an_active_run_is_not_deleted_and_receives_requests(results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")
    with hold_lock(run):
        async with open_runs(results) as pilot:
            assert pilot.cell("amber-fox", "state").endswith(("starting", "running"))
            await pilot.press("D")
            assert pilot.app.screen is pilot.screen and "Press S to stop it first" in pilot.app.toasts[-1]
            await pilot.press("r")
            assert "is already running" in pilot.app.toasts[-1]
            await pilot.press("p")
            await pilot.wait_for_toast("Pause requested: amber-fox")
            await pilot.press("S")
            assert "Stop (y)" in pilot.screen_text()
            await pilot.press("y")
            await pilot.wait_for_toast("Stop requested: amber-fox")
            verbs = {json.loads(path.read_text())["verb"] for path in run.control_dir.glob("*.json")}
            assert verbs == {"pause", "stop"}


async def test_a_run_resumed_during_the_confirmation_is_not_deleted(results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")
    async with open_runs(results) as pilot:
        await pilot.press("D")
        with hold_lock(run):
            await pilot.press("y")
            await pilot.wait_for_toast("is already running. Attach to it, or stop it first")
        assert run.path.exists()


async def test_a_run_of_another_results_directory_is_marked_and_not_deleted(results: Path, tmp_path: Path) -> None:
    add_used_results_dir(results)
    async with open_runs(tmp_path / "empty", (200, 40)) as pilot:
        assert pilot.cell("amber-fox", "elsewhere") == str(results)
        await pilot.select_run("amber-fox")
        await pilot.press("D")
        assert pilot.app.screen is pilot.screen, "a dialog is shown as if the run would be deleted"
        assert pilot.app.toasts == [
            f"amber-fox is in {results}; to delete it, run: nanochat-tui rm --results-dir {results} amber-fox"
        ]


async def test_the_results_directory_column_is_hidden_if_all_runs_are_in_one(results: Path) -> None:
    async with open_runs(results, (200, 40)) as pilot:
        assert "elsewhere" not in pilot.screen.table.shown_columns


async def test_an_ended_run_explains_why_it_cannot_be_paused_or_stopped(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("p", "S", "r")
        assert pilot.app.toasts == [
            "amber-fox is not running. Press R to start another run with its settings.",
            "amber-fox is not running. Press R to start another run with its settings.",
            "amber-fox is finished. Press R to start another run with its settings.",
        ]
        await pilot.select_run("brave-owl")
        await pilot.press("p")
        assert pilot.app.toasts[-1] == "brave-owl is not running. Press r to resume it."


async def test_a_real_run_is_paused_resumed_stopped_and_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=200_000, eval_every=50_000)
    worker = launch(run)
    async with open_runs(tmp_path / "results") as pilot:

        async def wait_for_state(state: str) -> None:
            while not pilot.cell(run.id, "state").endswith(state):
                await pilot.refresh()

        await wait_for_state("running")
        await pilot.press("p")
        await wait_for_state("paused")
        await pilot.press("r")
        await wait_for_state("running")
        await pilot.press("S", "y")
        await wait_for_state("stopped")
        assert worker.wait(PATIENCE) is not None
        await pilot.press("r")
        await pilot.wait_for_toast("resumes from its last checkpoint")
        await wait_for_state("running")
        await pilot.press("S", "y")
        await wait_for_state("stopped")


async def test_read_only_mode_refuses_every_action(results: Path) -> None:
    async with open_runs(results, readonly=True) as pilot:
        for number, key in enumerate(("S", "p", "r", "R", "w", "D", "delete"), start=1):
            await pilot.press(key)
            assert len(pilot.app.toasts) == number and "--readonly" in pilot.app.toasts[-1]
        assert pilot.app.screen is pilot.screen and not pilot.app.requests
        await pilot.press("enter")
        assert isinstance(pilot.app.requests[0], RunSelected)
