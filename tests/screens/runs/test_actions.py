"""Actions on a run: other screens, pages, reports, and control."""

import json
from pathlib import Path

from builders import make_run
from patience import PATIENCE
from runs_screen import open_runs
from seats import add_run, append, held

from engines.runs.launch import launch
from engines.runs.lookup import add_used_results_dir
from engines.runs.store import Run
from screens.messages import FormRequested, RunSelected, SampleRequested
from screens.runs.compare import CompareScreen
from screens.runs.page import TextPage
from screens.widgets.confirm import ConfirmScreen

SIZES = [(20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]


# --- leaving for other screens --------------------------------------------------------------------


async def test_keys_open_other_screens(results: Path) -> None:
    async with open_runs(results) as seat:
        await seat.press("enter", "t", "R")
        await seat.pilot.pause()
        chosen, sample, form = seat.app.requests
        assert isinstance(chosen, RunSelected) and chosen.run.id == "amber-fox"
        assert isinstance(sample, SampleRequested) and sample.run.id == "amber-fox"
        assert isinstance(form, FormRequested) and form.given["steps"] == 40 and form.given["data"] == "/lab/text.txt"
        await seat.stand_on("deep-moss")
        await seat.press("t")
        assert "deep-moss has no checkpoint" in seat.app.said[-1]


async def test_pages_show_guards_and_details(results: Path) -> None:
    async with open_runs(results, (80, 24)) as seat:
        await seat.stand_on("calm-elm")
        await seat.press("g")
        assert isinstance(seat.app.screen, TextPage)
        await seat.until(lambda: "spike" in seat.seen() and "threshold" in seat.seen())
        await seat.press("escape", "i")
        await seat.until(lambda: "nanochat-tui sample calm-elm" in seat.seen())
        await seat.press("escape")
        assert seat.app.screen is seat.screen


async def test_control_characters_in_run_files_do_not_reach_the_terminal(results: Path) -> None:
    run = add_run(results, "finished", "early-bird", age=1.0, data="\x1b[31mred.txt")
    sample = {"t": 99.0, "kind": "sample", "step": 40, "prompt": "\x1b[2J", "text": "a\x00b\x07c", "seconds": 0.1}
    append(run, sample)
    async with open_runs(results, (200, 60)) as seat:
        await seat.until(lambda: "\u241b[2Ja\u2400b\u2407c" in seat.seen() and "\u241b[31mred.txt" in seat.seen())
        await seat.press("space", "down", "d")
        await seat.until(lambda: isinstance(seat.app.screen, CompareScreen) and "red.txt" in seat.seen())
        assert not {"\x1b", "\x00", "\x07"} & set(seat.seen())


# --- commanding -----------------------------------------------------------------------------------


async def test_deleting_asks_first_and_then_deletes(results: Path) -> None:
    doomed = results / "runs" / "amber-fox"
    async with open_runs(results) as seat:
        await seat.press("D")
        assert isinstance(seat.app.screen, ConfirmScreen)
        assert "Delete amber-fox permanently?" in seat.seen() and "delete (y)" in seat.seen()
        await seat.press("n")
        assert doomed.exists() and seat.app.screen is seat.screen
        await seat.press("delete", "enter")  # the cautious answer has the focus
        assert doomed.exists()
        await seat.press("D", "y")
        await seat.hears("deleted run amber-fox")
        assert not doomed.exists()
        await seat.refresh()
        assert "amber-fox" not in seat.ids and len(seat.app.said) == 1


async def test_the_report_is_written_and_its_path_shown(results: Path) -> None:
    (results / "runs" / "calm-elm" / "config.json").write_text("{")
    async with open_runs(results) as seat:
        await seat.stand_on("brave-owl")
        await seat.press("w")
        page = results / "reports" / "brave-owl.html"
        await seat.hears(f"report written: {page}, with its plots")
        assert seat.app.said[0] == "writing the report of brave-owl ..." and "Run brave-owl" in page.read_text()
        await seat.stand_on("calm-elm")
        await seat.press("w")
        await seat.hears("calm-elm cannot be reported: ")


async def test_an_active_run_is_not_deleted_and_receives_requests(results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")
    with held(run):
        async with open_runs(results) as seat:
            assert seat.cell("amber-fox", "state").endswith(("starting", "running"))
            await seat.press("D")
            assert seat.app.screen is seat.screen and "Press S to stop it first" in seat.app.said[-1]
            await seat.press("r")
            assert "is already running" in seat.app.said[-1]
            await seat.press("p")
            await seat.hears("pause requested: amber-fox")
            await seat.press("S")
            assert "stop (y)" in seat.seen()
            await seat.press("y")
            await seat.hears("stop requested: amber-fox")
            verbs = {json.loads(path.read_text())["verb"] for path in run.control_dir.glob("*.json")}
            assert verbs == {"pause", "stop"}


async def test_a_run_resumed_during_the_confirmation_is_not_deleted(results: Path) -> None:
    run = Run(results / "runs" / "amber-fox")
    async with open_runs(results) as seat:
        await seat.press("D")
        with held(run):
            await seat.press("y")
            await seat.hears("is already running. Attach to it, or stop it first")
        assert run.path.exists()


async def test_a_run_of_another_results_directory_is_marked_and_not_deleted(results: Path, tmp_path: Path) -> None:
    add_used_results_dir(results)
    async with open_runs(tmp_path / "empty", (200, 40)) as seat:
        assert seat.cell("amber-fox", "elsewhere") == str(results)
        await seat.stand_on("amber-fox")
        await seat.press("D")
        assert seat.app.screen is seat.screen, "a dialog is shown as if the run would be deleted"
        assert seat.app.said == [
            f"amber-fox is in {results}; delete it with: nanochat-tui runs --results-dir {results}"
        ]


async def test_the_results_directory_column_is_hidden_if_all_runs_are_in_one(results: Path) -> None:
    async with open_runs(results, (200, 40)) as seat:
        assert "elsewhere" not in seat.screen.table.shown_columns


async def test_an_ended_run_explains_why_it_cannot_be_paused_or_stopped(results: Path) -> None:
    async with open_runs(results) as seat:
        await seat.press("p", "S", "r")
        assert seat.app.said == [
            "amber-fox is not running. Press R to start another run with its settings.",
            "amber-fox is not running. Press R to start another run with its settings.",
            "amber-fox is finished. Press R to start another run with its settings.",
        ]
        await seat.stand_on("brave-owl")
        await seat.press("p")
        assert seat.app.said[-1] == "brave-owl is not running. Press r to resume it."


async def test_a_real_run_is_paused_resumed_stopped_and_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=200_000, eval_every=50_000)
    worker = launch(run)
    async with open_runs(tmp_path / "results") as seat:

        async def reaches(state: str) -> None:
            while not seat.cell(run.id, "state").endswith(state):
                await seat.refresh()

        await reaches("running")
        await seat.press("p")
        await reaches("paused")
        await seat.press("r")
        await reaches("running")
        await seat.press("S", "y")
        await reaches("stopped")
        assert worker.wait(PATIENCE) is not None
        await seat.press("r")
        await seat.hears("resumes from its last checkpoint")
        await reaches("running")
        await seat.press("S", "y")
        await reaches("stopped")


async def test_read_only_mode_refuses_every_action(results: Path) -> None:
    async with open_runs(results, readonly=True) as seat:
        for number, key in enumerate(("S", "p", "r", "R", "w", "D", "delete"), start=1):
            await seat.press(key)
            assert len(seat.app.said) == number and "--readonly" in seat.app.said[-1]
        assert seat.app.screen is seat.screen and not seat.app.requests
        await seat.press("enter")
        assert isinstance(seat.app.requests[0], RunSelected)
