"""An open study: cells, curves, effects and its report, at every size."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from ablate_screen import ablate_screen, cell_names, open_editor, open_study, screen_of, view_of, wait_for_studies
from patience import PATIENCE
from seats import new_study
from textual.widgets import Static

from engines.ablation.study import list_studies
from engines.reports import document
from screens.chart import Chart
from screens.train.screen import TrainScreen

SIZES = [(60, 15), (1, 1), (80, 24)]


async def test_cells_are_ranked_and_compared_with_the_base_and_drawn_in_their_colours(results: Path) -> None:
    async with ablate_screen(results) as seat:
        await open_study(seat)
        view = view_of(seat)
        assert view.snapshot and view.snapshot.analysis.done == 4
        scores = [cell.score.mean for cell in view.snapshot.analysis.cells if cell.score]
        assert scores == sorted(scores) and len(scores) == 2
        assert cell_names(seat) == [cell.name for cell in view.snapshot.analysis.cells]
        await seat.sees("FINISHED", "4/4 runs", "too few seeds", " ± ")
        await seat.sees("0 comparisons with lr=0.03 by val bpb (Holm-adjusted, error rate 0.05)")
        chart = view.query_one(Chart)
        assert "first seed (1337)" in str(chart.border_title)
        await seat.until(lambda: "1 lr=0.03" in chart.text and "2 lr=0.3" in chart.text)
        assert [str(view.cells.get_cell(key, "series")) for key in view.cells.row_keys] == ["1", "2"]
        await seat.press("v")
        await seat.until(lambda: not chart.is_on_screen)


async def test_cells_can_be_compared_with_another_cell(results: Path) -> None:
    async with ablate_screen(results) as seat:
        await open_study(seat)
        cells = view_of(seat).cells
        cells.move_cursor(row=cell_names(seat).index("lr=0.3"))
        await seat.press("b")
        await seat.sees("with lr=0.3 by val bpb", "the study's own base is lr=0.03")
        assert cells.cell_text(cells.key_at_cursor, "verdict") == "base"
        await seat.press("b")
        await seat.hears("already compared with lr=0.3")


async def test_a_grid_has_effects_and_other_designs_show_why_not(results: Path) -> None:
    async with ablate_screen(results) as seat:
        await open_study(seat)
        await seat.press("e")
        await seat.sees("Main effects on val bpb", "lr=0.3 instead of 0.03")
    new_study(results.parent, {"lr": (0.1, 0.2)}, pick="one-at-a-time")
    async with ablate_screen(results) as seat:
        await open_study(seat)
        await seat.press("e")
        await seat.sees("No effects: they need a full grid, and the design one-at-a-time leaves combinations out.")


async def test_on_a_low_terminal_curves_and_effects_replace_the_cells(results: Path) -> None:
    async with ablate_screen(results, (80, 24)) as seat:
        await open_study(seat)
        view = view_of(seat)
        assert view.cells.is_on_screen and not view.curves.is_on_screen
        await seat.press("v")
        await seat.until(lambda: view.curves.is_on_screen and not view.cells.is_on_screen)
        await seat.press("e")
        await seat.until(lambda: view.effects.is_on_screen and not view.curves.is_on_screen)
        await seat.press("escape")
        await seat.until(lambda: view.cells.is_on_screen)
        await seat.press("escape")
        assert screen_of(seat).view == "list"


async def test_a_cell_opens_the_run_of_its_first_seed(results: Path) -> None:
    async with ablate_screen(results) as seat:
        await open_study(seat)
        await seat.press("enter")
        await seat.until(lambda: isinstance(seat.screen, TrainScreen))
        await seat.hears("with seed 1337, the first of 2 seeds.")
        run = seat.app.state.selected
        assert run and run.config["study"]["seed"] == 1337
        await seat.is_shown(run)


async def test_the_report_is_written_and_its_path_shown(results: Path) -> None:
    study = list_studies(results)[0]
    for path in study.path.glob("table.*"):
        path.unlink()
    page = results / "reports" / f"{study.id}.html"
    async with ablate_screen(results) as seat:
        await open_study(seat)
        await seat.press("w")
        await seat.hears(f"Tables written: {study.path}/table.*")
        assert seat.app.said[-1].startswith(f"Report written: {page}")
    assert json.loads((study.path / "table.json").read_text())["done"] == 4
    assert f"Study {study.id}" in page.read_text() and (page.parent / f"{study.id}.bpb.svg").exists()


async def test_keys_work_while_the_report_is_written(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_worked, write_document = threading.Event(), document.write_document

    def write_slowly(*arguments: Any) -> list[Path]:
        assert key_worked.wait(PATIENCE), "the key waited for the report"
        return write_document(*arguments)

    monkeypatch.setattr(document, "write_document", write_slowly)
    async with ablate_screen(results) as seat:
        await open_study(seat)
        await seat.press("w")
        await seat.hears("Writing the report of study-1 ...")
        await seat.press("e")
        await seat.until(lambda: view_of(seat).part == "effects")
        assert not any(message.startswith("Report written") for message in seat.app.said)
        key_worked.set()
        await seat.hears("Report written: ")


async def test_a_refresh_without_changes_repaints_nothing(results: Path) -> None:
    async with ablate_screen(results) as seat:
        await open_study(seat)
        updated: list[str] = []
        view = view_of(seat)
        view.cells.update_cell = view.cells.clear = lambda *_, **__: updated.append("cells")  # type: ignore[method-assign, assignment, return-value]
        text = view.effects.query_one(Static)
        text.update = lambda *_: updated.append("effects")  # type: ignore[assignment]
        before = view.snapshot
        await seat.until(lambda: view.snapshot is not before)
        assert updated == []


async def test_the_screen_works_at_every_size(results: Path) -> None:
    async with ablate_screen(results) as seat:
        await open_study(seat)
        for size in SIZES:
            await seat.pilot.resize_terminal(*size)
            view_of(seat).part = ""
            await seat.pilot.pause()
            seen = seat.seen()
            assert max(map(len, seen.splitlines()), default=0) <= size[0]
            if size[0] >= 60:
                assert "FINISHED" in seen and "lr=0.3" in seen and "val bpb" in seen and "too few seeds" in seen
            for key, words in {"v": "Curves of 2", "e": "Main effects"}.items():
                await seat.press(key)
                if size[0] >= 60:
                    await seat.sees(words)
        await open_editor(seat)
        for size in SIZES[-2:]:
            await seat.pilot.resize_terminal(*size)
            assert size[0] < 60 or "4 × 3 seeds" in seat.seen()


async def test_ascii_mode_uses_only_ascii(results: Path) -> None:
    async with ablate_screen(results, (80, 24), ascii=True) as seat:
        await wait_for_studies(seat)
        seen = [seat.seen()]
        await open_study(seat)
        for key in ("v", "e", "e"):
            seen.append(seat.seen())
            await seat.press(key)
    lines = [line for painted in seen for line in painted.splitlines()[:-1]]  # the last line is Textual's footer
    assert [line for line in lines if not line.isascii()] == []
