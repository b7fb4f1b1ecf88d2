"""Comparing runs: marks, the comparison, curves on one chart."""

import json
import shutil
from pathlib import Path

import pytest
from app_pilot import add_run, hold_lock
from runs_screen import open_runs
from textual.widgets import DataTable

from engines.runs.store import Run
from screens.runs.compare import CompareScreen

SIZES = [(20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]


async def test_compare_shows_results_and_only_settings_that_differ(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("space")
        await pilot.select_run("calm-elm")
        await pilot.press("space", "d")
        text = pilot.screen_text()
        assert isinstance(pilot.app.screen, CompareScreen)
        assert "2.6318 @ 40" in text and "≠ seed" in text and "≠ steps" in text
        assert "batch size" not in text
        await pilot.press("a")
        table = pilot.app.screen.query_one(DataTable)
        lines = [str(table.get_row(key)[0]) for key in table.rows]
        assert "  batch size" in lines and "≠ seed" in lines
        pilot.app.refresh_runs()  # reaches the screen in front
        await pilot.press("escape")
        assert pilot.app.screen is pilot.screen


async def test_one_marked_run_is_compared_with_the_run_at_the_cursor(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("d")
        assert "with space" in pilot.app.toasts[0]
        await pilot.press("space", "d")
        assert len(pilot.app.toasts) == 2
        await pilot.press("down", "d")
        assert isinstance(pilot.app.screen, CompareScreen)
        assert "amber-fox" in pilot.screen_text() and "brave-owl" in pilot.screen_text()


@pytest.mark.parametrize("size", SIZES)
async def test_the_overlay_draws_the_marked_runs(results: Path, size: tuple[int, int]) -> None:
    async with open_runs(results, size) as pilot:
        await pilot.press("v")
        assert "with space" in pilot.app.toasts[0]
        await pilot.press("space", "down", "down", "space", "v")
        overlay = pilot.screen.overlay
        assert overlay.run_ids == ["amber-fox", "calm-elm"]
        if size[0] >= 80:
            await pilot.wait_until(lambda: "1 amber-fox" in pilot.screen_text() and "2 calm-elm" in pilot.screen_text())
        assert any("⠀" < character <= "⣿" for character in pilot.screen_text()), pilot.screen_text()
        await pilot.press("v")
        assert not overlay.display and "calm-elm" in pilot.screen_text()


async def test_the_overlay_follows_marks_and_live_runs(results: Path) -> None:
    run = Run(results / "runs" / "killed-run")
    add_run(results, "killed", "killed-run", age=60.0)
    with hold_lock(run):
        async with open_runs(results) as pilot:
            await pilot.select_run("killed-run")
            await pilot.press("space", "v")
            overlay = pilot.screen.overlay
            drawn_steps = overlay.drawn_steps
            watch = pilot.app.state.board.watch_of(run)
            step = watch.history.step
            with open(run.events_path, "a") as file:
                steps = {"first_step": step + 1, "losses": [1.0], "lr": [0.1], "seconds": [0.1], "grad_norms": [1.0]}
                file.write(json.dumps({"v": 1, "t": 9, "kind": "steps", "tokens": 9999} | steps) + "\n")
            await pilot.refresh()
            await pilot.wait_until(lambda: overlay.drawn_steps == drawn_steps + 1)
            await pilot.select_run("amber-fox")
            await pilot.press("space")
            assert overlay.run_ids == ["killed-run", "amber-fox"]
            assert pilot.app.state.board.watch_of(run) is watch  # not read again
            await pilot.press("space")
            await pilot.select_run("killed-run")
            await pilot.press("space")
            assert not overlay.display


async def test_changes_while_the_overlay_hides_the_table_are_shown_afterwards(results: Path) -> None:
    async with open_runs(results, (60, 15)) as pilot:
        await pilot.press("space", "v")
        assert not pilot.screen.runs.display
        add_run(results, "stopped", "early-bird", age=1)
        await pilot.refresh()
        shutil.rmtree(results / "runs" / "deep-moss")
        await pilot.refresh()
        await pilot.press("enter")
        assert pilot.app.requests
        await pilot.press("escape")
        assert pilot.screen.runs.display and pilot.screen.focused is pilot.screen.table
        assert pilot.ids == ["early-bird", "amber-fox", "brave-owl", "calm-elm"] and "early-bird" in pilot.screen_text()
        assert pilot.run_at_cursor == "amber-fox"


async def test_a_ninth_mark_is_refused(tmp_path: Path) -> None:
    for number in range(9):
        add_run(tmp_path, "finished", f"run-{number}", age=100.0 * number)
    async with open_runs(tmp_path) as pilot:
        for _ in range(9):
            await pilot.press("space", "down")
        assert "At most 8 runs can be marked" in pilot.app.toasts[0]
        assert [pilot.cell(f"run-{i}", "series").strip() for i in range(9)] == [*map(str, range(1, 9)), ""]
