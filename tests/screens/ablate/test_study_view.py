"""An open study: cells, curves, effects and its report, at every size."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from ablate_screen import ablate_screen, cell_names, open_editor, open_study, screen_of, view_of, wait_for_studies
from app_pilot import add_study
from patience import PATIENCE
from textual.widgets import Static

from engines.ablation.study import list_studies
from engines.reports import document
from screens.chart import Chart
from screens.train.screen import TrainScreen

SIZES = [(60, 15), (1, 1), (80, 24)]


async def test_cells_are_ranked_and_compared_with_the_base_and_drawn_in_their_colours(results: Path) -> None:
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        view = view_of(pilot)
        assert view.snapshot and view.snapshot.analysis.done == 4
        scores = [cell.score.mean for cell in view.snapshot.analysis.cells if cell.score]
        assert scores == sorted(scores) and len(scores) == 2
        assert cell_names(pilot) == [cell.name for cell in view.snapshot.analysis.cells]
        await pilot.wait_for_text("FINISHED", "4/4 runs", "too few seeds", " ± ")
        await pilot.wait_for_text("0 comparisons with lr=0.03 by val bpb (Holm-adjusted, error rate 0.05)")
        chart = view.query_one(Chart)
        assert "first seed (1337)" in str(chart.border_title)
        await pilot.wait_until(lambda: "1 lr=0.03" in chart.text and "2 lr=0.3" in chart.text)
        assert [str(view.cells.get_cell(key, "series")) for key in view.cells.row_keys] == ["1", "2"]
        await pilot.press("v")
        await pilot.wait_until(lambda: not chart.is_on_screen)


async def test_cells_can_be_compared_with_another_cell(results: Path) -> None:
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        cells = view_of(pilot).cells
        cells.move_cursor(row=cell_names(pilot).index("lr=0.3"))
        await pilot.press("b")
        await pilot.wait_for_text("with lr=0.3 by val bpb", "the study's own base is lr=0.03")
        assert cells.cell_text(cells.key_at_cursor, "verdict") == "base"
        await pilot.press("b")
        await pilot.wait_for_toast("already compared with lr=0.3")


async def test_a_grid_has_effects_and_other_designs_show_why_not(results: Path) -> None:
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        await pilot.press("e")
        await pilot.wait_for_text("Main effects on val bpb", "lr=0.3 instead of 0.03")
    add_study(results.parent, {"lr": (0.1, 0.2)}, pick="one-at-a-time")
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        await pilot.press("e")
        await pilot.wait_for_text(
            "No effects: they need a full grid, and the design one-at-a-time leaves combinations out."
        )


async def test_on_a_low_terminal_curves_and_effects_replace_the_cells(results: Path) -> None:
    async with ablate_screen(results, (80, 24)) as pilot:
        await open_study(pilot)
        view = view_of(pilot)
        assert view.cells.is_on_screen and not view.curves.is_on_screen
        await pilot.press("v")
        await pilot.wait_until(lambda: view.curves.is_on_screen and not view.cells.is_on_screen)
        await pilot.press("e")
        await pilot.wait_until(lambda: view.effects.is_on_screen and not view.curves.is_on_screen)
        await pilot.press("escape")
        await pilot.wait_until(lambda: view.cells.is_on_screen)
        await pilot.press("escape")
        assert screen_of(pilot).view == "list"


async def test_a_cell_opens_the_run_of_its_first_seed(results: Path) -> None:
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        await pilot.press("enter")
        await pilot.wait_until(lambda: isinstance(pilot.screen, TrainScreen))
        await pilot.wait_for_toast("with seed 1337, the first of 2 seeds.")
        run = pilot.app.state.selected
        assert run and run.config["study"]["seed"] == 1337
        await pilot.wait_for_run(run)


async def test_the_report_is_written_and_its_path_shown(results: Path) -> None:
    study = list_studies(results)[0]
    for path in study.path.glob("table.*"):
        path.unlink()
    page = results / "reports" / f"{study.id}.html"
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        await pilot.press("w")
        await pilot.wait_for_toast(f"Tables written: {study.path}/table.*")
        assert pilot.app.toasts[-1].startswith(f"Report written: {page}")
    assert json.loads((study.path / "table.json").read_text())["done"] == 4
    assert f"Study {study.id}" in page.read_text() and (page.parent / f"{study.id}.bpb.svg").exists()


async def test_keys_work_while_the_report_is_written(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_worked, write_document = threading.Event(), document.write_document

    def write_slowly(*arguments: Any) -> list[Path]:
        assert key_worked.wait(PATIENCE), "the key waited for the report"
        return write_document(*arguments)

    monkeypatch.setattr(document, "write_document", write_slowly)
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        await pilot.press("w")
        await pilot.wait_for_toast("Writing the report of study-1 …")
        await pilot.press("e")
        await pilot.wait_until(lambda: view_of(pilot).part == "effects")
        assert not any(message.startswith("Report written") for message in pilot.app.toasts)
        key_worked.set()
        await pilot.wait_for_toast("Report written: ")


async def test_a_refresh_without_changes_repaints_nothing(results: Path) -> None:
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        updated: list[str] = []
        view = view_of(pilot)
        view.cells.update_cell = view.cells.clear = lambda *_, **__: updated.append("cells")  # type: ignore[method-assign, assignment, return-value]
        text = view.effects.query_one(Static)
        text.update = lambda *_: updated.append("effects")  # type: ignore[assignment]
        before = view.snapshot
        await pilot.wait_until(lambda: view.snapshot is not before)
        assert updated == []


async def test_the_screen_works_at_every_size(results: Path) -> None:
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            view_of(pilot).part = ""
            await pilot.pause()
            text = pilot.screen_text()
            assert max(map(len, text.splitlines()), default=0) <= size[0]
            if size[0] >= 60:
                assert "FINISHED" in text and "lr=0.3" in text and "val bpb" in text and "too few seeds" in text
            for key, words in {"v": "Curves of 2", "e": "Main effects"}.items():
                await pilot.press(key)
                if size[0] >= 60:
                    await pilot.wait_for_text(words)
        await open_editor(pilot)
        for size in SIZES[-2:]:
            await pilot.resize_terminal(*size)
            assert size[0] < 60 or "4 × 3 seeds" in pilot.screen_text()


async def test_ascii_mode_uses_only_ascii(results: Path) -> None:
    async with ablate_screen(results, (80, 24), ascii=True) as pilot:
        await wait_for_studies(pilot)
        screens = [pilot.screen_text()]
        await open_study(pilot)
        for key in ("v", "e", "e"):
            screens.append(pilot.screen_text())
            await pilot.press(key)
    lines = [line for painted in screens for line in painted.splitlines()[:-1]]  # the last line is Textual's footer
    assert [line for line in lines if not line.isascii()] == []
