"""Comparing runs: marks, the comparison, curves on one chart."""

import json
import shutil
from pathlib import Path

import pytest
from runs_screen import open_runs
from seats import add_run, held
from textual.widgets import DataTable

from engines.runs.store import Run
from screens.runs.compare import CompareScreen

SIZES = [(20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]


async def test_compare_shows_results_and_only_settings_that_differ(results: Path) -> None:
    async with open_runs(results) as seat:
        await seat.press("space")
        await seat.stand_on("calm-elm")
        await seat.press("space", "d")
        seen = seat.seen()
        assert isinstance(seat.app.screen, CompareScreen)
        assert "2.6318 @ 40" in seen and "≠ seed" in seen and "≠ steps" in seen
        assert "batch size" not in seen
        await seat.press("a")
        table = seat.app.screen.query_one(DataTable)
        lines = [str(table.get_row(key)[0]) for key in table.rows]
        assert "  batch size" in lines and "≠ seed" in lines
        seat.app.refresh_runs()  # reaches the screen in front
        await seat.press("escape")
        assert seat.app.screen is seat.screen


async def test_one_marked_run_is_compared_with_the_run_at_the_cursor(results: Path) -> None:
    async with open_runs(results) as seat:
        await seat.press("d")
        assert "with space" in seat.app.said[0]
        await seat.press("space", "d")
        assert len(seat.app.said) == 2
        await seat.press("down", "d")
        assert isinstance(seat.app.screen, CompareScreen)
        assert "amber-fox" in seat.seen() and "brave-owl" in seat.seen()


@pytest.mark.parametrize("size", SIZES)
async def test_the_overlay_draws_the_marked_runs(results: Path, size: tuple[int, int]) -> None:
    async with open_runs(results, size) as seat:
        await seat.press("v")
        assert "with space" in seat.app.said[0]
        await seat.press("space", "down", "down", "space", "v")
        overlay = seat.screen.overlay
        assert overlay.run_ids == ["amber-fox", "calm-elm"]
        if size[0] >= 80:
            await seat.until(lambda: "1 amber-fox" in seat.seen() and "2 calm-elm" in seat.seen())
        assert any("⠀" < character <= "⣿" for character in seat.seen()), seat.seen()
        await seat.press("v")
        assert not overlay.display and "calm-elm" in seat.seen()


async def test_the_overlay_follows_marks_and_live_runs(results: Path) -> None:
    run = Run(results / "runs" / "killed-run")
    add_run(results, "killed", "killed-run", age=60.0)
    with held(run):
        async with open_runs(results) as seat:
            await seat.stand_on("killed-run")
            await seat.press("space", "v")
            overlay = seat.screen.overlay
            drawn_steps = overlay.drawn_steps
            watch = seat.app.state.board.watch_of(run)
            step = watch.history.step
            with open(run.events_path, "a") as file:
                steps = {"first_step": step + 1, "losses": [1.0], "lr": [0.1], "seconds": [0.1], "grad_norms": [1.0]}
                file.write(json.dumps({"v": 1, "t": 9, "kind": "steps", "tokens": 9999} | steps) + "\n")
            await seat.refresh()
            await seat.until(lambda: overlay.drawn_steps == drawn_steps + 1)
            await seat.stand_on("amber-fox")
            await seat.press("space")
            assert overlay.run_ids == ["killed-run", "amber-fox"]
            assert seat.app.state.board.watch_of(run) is watch  # not read again
            await seat.press("space")
            await seat.stand_on("killed-run")
            await seat.press("space")
            assert not overlay.display


async def test_changes_while_the_overlay_hides_the_table_are_shown_afterwards(results: Path) -> None:
    async with open_runs(results, (60, 15)) as seat:
        await seat.press("space", "v")
        assert not seat.screen.runs.display
        add_run(results, "stopped", "early-bird", age=1)
        await seat.refresh()
        shutil.rmtree(results / "runs" / "deep-moss")
        await seat.refresh()
        await seat.press("enter")
        assert seat.app.requests
        await seat.press("escape")
        assert seat.screen.runs.display and seat.screen.focused is seat.screen.table
        assert seat.ids == ["early-bird", "amber-fox", "brave-owl", "calm-elm"] and "early-bird" in seat.seen()
        assert seat.at_cursor == "amber-fox"


async def test_a_ninth_mark_is_refused(tmp_path: Path) -> None:
    for number in range(9):
        add_run(tmp_path, "finished", f"run-{number}", age=100.0 * number)
    async with open_runs(tmp_path) as seat:
        for _ in range(9):
            await seat.press("space", "down")
        assert "at most 8 runs can be marked" in seat.app.said[0]
        assert [seat.cell(f"run-{i}", "series").strip() for i in range(9)] == [*map(str, range(1, 9)), ""]
