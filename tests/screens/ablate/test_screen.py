"""The ablate screen over studies that real queues train: planned, followed, judged and commanded, at every size."""

import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from builders import write_text
from patience import PATIENCE
from seats import Seat, append, held, new_study, play
from textual.widgets import Static, TextArea

import screens.app
from engines.ablation.plan import Job
from engines.ablation.study import list_studies, start_queue
from engines.reports import document
from engines.runs import liveness
from engines.runs.history import read_history
from screens.ablate.editor import PlanEditor
from screens.ablate.figure_table import FigureTable
from screens.ablate.screen import AblateScreen
from screens.ablate.studies import StudiesReader
from screens.ablate.study_view import StudyView
from screens.chart import Chart
from screens.shared.settings_form import SettingRow, SettingsForm
from screens.train.screen import TrainScreen
from screens.widgets.confirm import ConfirmScreen

SIZES = [(60, 15), (1, 1), (80, 24)]
ENDLESS = {"steps": 10_000_000, "batch_size": 2, "eval_every": 1_000_000, "sample_tokens": 0}
KEYS = ("p", "X", "r", "v", "e", "b", "w", "R", "enter", "escape")
_trained: dict[str, Path] = {}  # once for all tests: nobody changes it


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often, so that no test waits for the next look."""
    monkeypatch.setattr(screens.app, "REFRESH_INTERVAL", 0.4)


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One finished study: two rates, each with two seeds."""
    if "two rates" not in _trained:
        folder = tmp_path_factory.mktemp("trained")
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("HOME", str(folder))  # else where it was trained would be remembered, and looked at too
            start_queue(new_study(folder, {"lr": (0.03, 0.3)})).wait()
        _trained["two rates"] = folder / "results"
    return Path(shutil.copytree(_trained["two rates"], tmp_path / "results", symlinks=True))


def screen_of(seat: Seat) -> AblateScreen:
    found = seat.app.screen_stack[0]
    assert isinstance(found, AblateScreen)
    return found


def view_of(seat: Seat) -> StudyView:
    return screen_of(seat).study


def cell(table: FigureTable, key: str, column: str) -> str:
    return table._cells[key][column].text


def variants(seat: Seat) -> list[str]:
    table = view_of(seat).cells
    return [cell(table, key, "cell") for key in table.keys]


async def read(seat: Seat) -> None:
    await seat.until(lambda: screen_of(seat)._rows is not None)
    await seat.pilot.pause()


async def opened(seat: Seat) -> None:
    await read(seat)
    await seat.press("enter")
    await seat.until(lambda: view_of(seat).reading)
    await seat.pilot.pause()


async def planned(seat: Seat) -> PlanEditor:
    await read(seat)
    await seat.press("n")
    await seat.until(lambda: seat.screen.query(PlanEditor) and seat.screen.query_one(PlanEditor)._prospect)
    return seat.screen.query_one(PlanEditor)


async def typed(seat: Seat, axes: str) -> PlanEditor:
    """Into the plan of a new study, until what follows is told."""
    editor = await planned(seat)
    editor.query_one(TextArea).text = axes
    await seat.until(lambda: editor._prospect and editor._prospect.draft.axes == axes)
    return editor


async def choose(seat: Seat, editor: PlanEditor, **settings: str) -> None:
    """Type into rows of the form."""
    for row in editor.query(SettingRow):
        if row.field.name in settings:
            row._take(settings[row.field.name])
    await seat.until(lambda: editor._prospect and editor._prospect.draft == editor.draft)


# --- the list ---------------------------------------------------------------------------------------


def test_without_a_study_it_tells_how_to_start_and_every_key_says_why_it_does_nothing(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await seat.sees("No study yet", "nanochat-tui --no-ui ablate --axis")
        for key in KEYS:
            said = len(seat.app.said)
            await seat.press(key)
            assert len(seat.app.said) == said + 1, key

    play(tmp_path, scenario, screen="ablate")


def test_the_list_tells_state_progress_axes_and_base_the_newest_first(results: Path) -> None:
    new_study(results.parent, {"steps": (10, 20)}, pick="one-at-a-time")

    async def scenario(seat: Seat) -> None:
        await read(seat)
        table = screen_of(seat).table
        assert [Path(key).name for key in table.keys] == ["study-2", "study-1"]
        newest, oldest = table.keys
        assert cell(table, oldest, "state") == "✔ finished" and cell(table, oldest, "done") == "4/4"
        assert cell(table, newest, "state") == "† killed" and cell(table, newest, "done") == "0/4"
        assert cell(table, oldest, "axes") == "lr=0.03,0.3" and "steps=20" in cell(table, oldest, "base")
        assert cell(table, newest, "pick") == "one-at-a-time"

    play(results, scenario, screen="ablate")


def test_a_study_that_cannot_be_read_or_is_deleted_is_told(results: Path) -> None:
    study = new_study(results.parent, {"lr": (0.1, 0.2)})
    study.config_path.write_text("{")

    async def scenario(seat: Seat) -> None:
        await read(seat)
        assert "plan.json" in seat.seen()
        table = screen_of(seat).table
        table.move_cursor(row=table.keys.index(str(study.path)))
        await seat.press("enter")
        await seat.hears("no readable plan.json")
        assert screen_of(seat)._view == "list"
        table.move_cursor(row=1 - table.cursor_row)
        await opened(seat)
        shutil.rmtree(results / "studies")
        await seat.hears("the study is gone")
        await seat.sees("No study yet")

    play(results, scenario, (200, 60), screen="ablate")


def test_the_plan_has_its_columns_where_the_form_of_a_run_was_never_opened(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await planned(seat)
        assert re.search(r" halving  +false ", seat.seen()) and re.search(r" seed  +1337 ", seat.seen())

    play(tmp_path, scenario, screen="ablate")


def test_the_plan_tells_what_the_setting_at_hand_is_and_that_two_seeds_give_no_verdict(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        editor = await planned(seat)
        await choose(seat, editor, seeds="2")
        words = "4 × 2 seeds: figures but no verdict, which takes 3"
        await seat.until(lambda: words in seat.told("#plan-text"))
        await seat.press("tab", "tab")
        await seat.sees("--pick: cells: all combinations")

    play(tmp_path, scenario, screen="ablate")


# --- a study ----------------------------------------------------------------------------------------


def test_cells_are_ranked_compared_with_the_base_and_drawn_in_the_colours_of_the_table(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        reading = view_of(seat).reading
        assert reading and reading.analysis.done == 4
        scores = [cell.score.mean for cell in reading.analysis.cells if cell.score]
        assert scores == sorted(scores) and len(scores) == 2
        assert variants(seat) == [cell.name for cell in reading.analysis.cells]
        await seat.sees("FINISHED", "4/4 runs", "too few seeds", " ± ")
        await seat.sees("0 comparisons by val bpb (Holm, 0.05) against lr=0.03")
        chart = view_of(seat).query_one(Chart)
        assert "each with its first seed (1337)" in str(chart.border_title)
        await seat.until(lambda: "1 lr=0.03" in chart.text and "2 lr=0.3" in chart.text)
        assert [cell(view_of(seat).cells, key, "series") for key in view_of(seat).cells.keys] == ["1", "2"]
        await seat.press("v")
        await seat.until(lambda: not chart.is_on_screen)

    play(results, scenario, screen="ablate")


def test_the_cells_can_be_judged_against_another_one(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        cells = view_of(seat).cells
        cells.move_cursor(row=variants(seat).index("lr=0.3"))
        await seat.press("b")
        await seat.sees("against lr=0.3, marked here")
        assert cell(cells, cells.key_at_cursor, "verdict") == "base"
        await seat.press("b")
        await seat.hears("lr=0.3 is what the cells are judged against already")

    play(results, scenario, screen="ablate")


def test_effects_are_told_of_a_grid_and_elsewhere_why_there_are_none(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        await seat.press("e")
        await seat.sees("What each axis does to val bpb", "lr=0.3, not 0.03")

    play(results, scenario, screen="ablate")
    new_study(results.parent, {"lr": (0.1, 0.2)}, pick="one-at-a-time")

    async def other(seat: Seat) -> None:
        await opened(seat)
        await seat.press("e")
        await seat.sees("Effects are told of a full grid; the pick one-at-a-time leaves combinations out.")

    play(results, other, screen="ablate")


def test_on_a_low_terminal_curves_and_effects_stand_in_the_cells_place(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        view = view_of(seat)
        assert view.cells.is_on_screen and not view.curves.is_on_screen
        await seat.press("v")
        await seat.until(lambda: view.curves.is_on_screen and not view.cells.is_on_screen)
        await seat.press("e")
        await seat.until(lambda: view.effects.is_on_screen and not view.curves.is_on_screen)
        await seat.press("escape")
        await seat.until(lambda: view.cells.is_on_screen)
        await seat.press("escape")
        assert screen_of(seat)._view == "list"

    play(results, scenario, (80, 24), screen="ablate")


def test_a_cell_opens_the_run_of_its_first_seed_and_says_so(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        await seat.press("enter")
        await seat.until(lambda: isinstance(seat.screen, TrainScreen))
        await seat.hears("with seed 1337, the first of 2.")
        run = seat.app.state.selected
        assert run and run.config["study"]["seed"] == 1337
        await seat.is_shown(run)

    play(results, scenario, screen="ablate")


def test_the_report_is_written_and_its_place_told(results: Path) -> None:
    study = list_studies(results)[0]
    for path in study.path.glob("table.*"):
        path.unlink()

    async def scenario(seat: Seat) -> None:
        await opened(seat)
        await seat.press("w")
        await seat.hears(f"with its plots, {study.path}/table.*")
        assert seat.app.said[-1].startswith(f"written: {page} ")

    page = results / "reports" / f"{study.id}.html"
    play(results, scenario, screen="ablate")
    assert json.loads((study.path / "table.json").read_text())["done"] == 4
    assert f"Study {study.id}" in page.read_text() and (page.parent / f"{study.id}.bpb.svg").exists()


def test_no_key_waits_for_the_report(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, write = threading.Event(), document.write_document

    def slow(*given: Any) -> list[Path]:
        assert looked.wait(PATIENCE), "the keys waited"
        return write(*given)

    monkeypatch.setattr(document, "write_document", slow)

    async def scenario(seat: Seat) -> None:
        await opened(seat)
        await seat.press("w")
        await seat.hears("writing the report of study-1 ...")
        await seat.press("e")
        await seat.until(lambda: view_of(seat).part == "effects")
        assert not any(said.startswith("written") for said in seat.app.said)
        looked.set()
        await seat.hears("written: ")

    play(results, scenario, screen="ablate")


def test_a_refresh_paints_nothing_where_nothing_has_changed(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        touched: list[str] = []
        cells = view_of(seat).cells
        cells.update_cell = cells._rebuild = lambda *_: touched.append("cells")  # type: ignore[method-assign]
        text = view_of(seat).effects.query_one(Static)
        text.update = lambda *_: touched.append("effects")  # type: ignore[assignment]
        before = view_of(seat).reading
        await seat.until(lambda: view_of(seat).reading is not before)
        assert touched == []

    play(results, scenario, screen="ablate")


def test_it_works_at_every_size(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await opened(seat)
        for size in SIZES:
            await seat.pilot.resize_terminal(*size)
            view_of(seat).show_part("")
            await seat.pilot.pause()
            seen = seat.seen()
            assert max(map(len, seen.splitlines()), default=0) <= size[0]
            if size[0] >= 60:
                assert "FINISHED" in seen and "lr=0.3" in seen and "val bpb" in seen and "too few seeds" in seen
            for key, words in {"v": "curves of 2", "e": "What each axis does"}.items():
                await seat.press(key)
                if size[0] >= 60:
                    await seat.sees(words)
        await planned(seat)
        for size in SIZES[-2:]:
            await seat.pilot.resize_terminal(*size)
            assert size[0] < 60 or "4 × 3 seeds" in seat.seen()

    play(results, scenario, screen="ablate")


def test_in_ascii_there_is_nothing_else(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await read(seat)
        seen = [seat.seen()]
        await opened(seat)
        for key in ("v", "e", "e"):
            seen.append(seat.seen())
            await seat.press(key)
        lines = [line for painted in seen for line in painted.splitlines()[:-1]]  # the footer is Textual's
        assert [line for line in lines if not line.isascii()] == []

    play(results, scenario, (80, 24), screen="ablate", ascii=True)


# --- planning ---------------------------------------------------------------------------------------


def test_what_is_typed_is_helped_with_counted_and_told_wrong(results: Path) -> None:
    async def scenario(seat: Seat) -> None:
        editor = await typed(seat, "lr=0.1,x\nnothing=1")
        assert "lr must be a number or auto, not 'x'" in seat.told("#plan-text")
        await seat.press("f5")
        await seat.hears("'nothing' is not a setting of a run")
        editor.query_one(TextArea).text = "warm"
        editor.query_one(TextArea).move_cursor((0, 4))
        await seat.sees("there are warmup_fraction")
        await typed(seat, "mode=scalar,tensor\noptimizer=adamw,muon")
        await seat.sees("3 × 3 seeds", "about", "1 not trained", "mode=scalar_optimizer=muon: ")
        await choose(seat, editor, seeds="5", pick="one-at-a-time", steps="100")
        await seat.sees("× 5 seeds")
        await choose(seat, editor, halving="true", time_budget="5s")
        await seat.sees("--halving divides steps")

    play(results, scenario, screen="ablate")


def test_a_study_is_planned_started_and_seen_to_its_end(tmp_path: Path) -> None:
    text = str(write_text(tmp_path))

    async def scenario(seat: Seat) -> None:
        editor = await typed(seat, "lr=0.03,0.3")
        wanted = {"data": text, "steps": "300", "batch_size": "2", "seeds": "2", "jobs": "1"}
        await choose(seat, editor, **wanted)
        await seat.press("f5")
        await seat.hears("study-1 has begun: 4 runs")
        await seat.until(lambda: view_of(seat).reading)
        seen: set[int] = set()

        def is_done() -> bool:
            reading = view_of(seat).reading
            assert reading
            seen.add(reading.row.done)
            return reading.row.state == "finished" and reading.analysis.done == 4

        await seat.until(is_done)
        await seat.pilot.pause()
        assert seen & {0, 1, 2, 3} and variants(seat) == ["lr=0.03", "lr=0.3"]
        await seat.press("e")
        await seat.sees("lr=0.3, not 0.03")
        assert not seat.screen.query(PlanEditor)

    play(tmp_path / "results", scenario, screen="ablate")
    assert read_history(list_studies(tmp_path / "results")[0]).ended


# --- commanding -------------------------------------------------------------------------------------


def test_a_live_study_is_held_let_go_cancelled_after_a_question_and_resumed(tmp_path: Path) -> None:
    study = new_study(tmp_path, {"lr": (0.03, 0.3)}, ENDLESS, jobs=1)
    queue = start_queue(study)

    def state(seat: Seat) -> str:
        reading = view_of(seat).reading
        return reading.row.state if reading else ""

    async def scenario(seat: Seat) -> None:
        await opened(seat)
        await seat.until(lambda: view_of(seat).reading.training)  # type: ignore[union-attr]
        await seat.sees("trains: lr=0.03 seed 1337")
        await seat.press("r")
        await seat.hears("study-1 lives already")
        await seat.press("p")
        await seat.until(lambda: state(seat) == "paused")
        await seat.press("p")
        await seat.until(lambda: state(seat) == "running")
        await seat.press("X")
        await seat.until(lambda: isinstance(seat.app.screen, ConfirmScreen))
        await seat.sees("Cancel the rest of study-1?")
        await seat.press("n")
        assert liveness.is_lock_held(study.lock_path)
        await seat.press("X", "y")
        await seat.until(lambda: state(seat) == "stopped")
        queue.wait()
        await seat.press("p")
        await seat.hears("study-1 is not running. Press r to resume it.")
        await seat.press("r")
        await seat.hears("study-1 goes on with what is missing")
        await seat.until(lambda: view_of(seat).reading.training and state(seat) == "running")  # type: ignore[union-attr]
        await seat.press("X", "y")
        await seat.until(lambda: state(seat) == "stopped")
        await seat.press("R")
        await seat.sees("what follows")

    play(tmp_path / "results", scenario, screen="ablate")


def test_a_view_that_only_reads_refuses_every_order_and_plans_a_study_like_another_in_vain(results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}

    async def scenario(seat: Seat) -> None:
        await opened(seat)
        for key in ("p", "X", "r", "w"):
            said = len(seat.app.said)
            await seat.press(key)
            assert len(seat.app.said) == said + 1 and "--readonly" in seat.app.said[-1], key
        await seat.press("R")
        await seat.until(lambda: seat.screen.query(PlanEditor) and seat.screen.query_one(PlanEditor)._prospect)
        editor = seat.screen.query_one(PlanEditor)
        assert editor.query_one(TextArea).text == "lr=0.03,0.3" and editor.draft.options == {"seeds": "2"}
        assert editor.query_one(SettingsForm).given["steps"] == "20"
        await seat.press("f5")
        await seat.hears("--readonly")
        assert "--readonly" in seat.app.said[-1]
        await seat.press("escape")
        assert screen_of(seat)._view == "study"

    play(results, scenario, screen="ablate", readonly=True)
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


def test_a_study_that_is_being_cancelled_says_so_until_another_queue_goes_on(tmp_path: Path) -> None:
    study = new_study(tmp_path, {"lr": (0.03, 0.3)})
    began = {"t": 0.0, "kind": "run", "pid": 1, "host": "", "start": 1}
    append(study, began, {"t": 1.0, "kind": "control", "request": "1-stop.json", "verb": "stop", "outcome": "done"})
    reader = StudiesReader(study.results)
    with held(study):
        assert reader.read()[0].is_cancelled
        append(study, began)
        assert not reader.read()[0].is_cancelled


def test_a_cell_waits_for_a_base_whose_seeds_are_not_all_done(results: Path) -> None:
    """The base's second run is deleted, so that there is nothing to compare with."""
    study = list_studies(results)[0]
    base = study.plan.base_index
    run = study.find_run(Job(base, study.plan.seeds[1]))
    assert run
    shutil.rmtree(run.path)

    async def scenario(seat: Seat) -> None:
        await opened(seat)
        await seat.sees("waits for the base")

    play(results, scenario, screen="ablate")
