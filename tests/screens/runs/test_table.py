"""The table of runs: rows, sizes, damaged runs, filter and order."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from app_pilot import add_run, open_dashboard
from builders import finished_run
from runs_screen import open_runs
from textual.widgets import Input

from engines.runs.liveness import GLYPHS
from engines.runs.store import Run
from screens.runs.run_list import RunList
from screens.shared.settings_form import SettingsForm
from screens.shared.table import RowTable
from screens.themes import THEMES
from screens.train.screen import TrainScreen

SIZES = [(20, 5), (60, 15), (80, 24), (120, 40), (200, 60)]


# --- rows -----------------------------------------------------------------------------------------


async def test_every_run_is_shown_with_its_state_figures_and_guards(results: Path) -> None:
    async with open_runs(results, (200, 60)) as pilot:
        assert pilot.ids == ["amber-fox", "brave-owl", "calm-elm", "deep-moss"]
        assert pilot.cell("amber-fox", "state") == "✔ finished"
        assert pilot.cell("brave-owl", "state") == "† killed"
        assert pilot.cell("brave-owl", "kind") == "mini-gpt"
        assert pilot.cell("amber-fox", "step") == "40/40"
        assert pilot.cell("amber-fox", "bpb") == "2.6318"
        assert pilot.cell("amber-fox", "age") == "1 min"
        assert pilot.cell("deep-moss", "age") == "2.3 d"
        assert pilot.cell("calm-elm", "guards") == "▲3"
        assert pilot.cell("amber-fox", "guards") == "–"
        assert len(pilot.cell("amber-fox", "trend")) == 12
        assert pilot.cell("amber-fox", "corpus") == "text.txt"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ascii", [False, True])
async def test_the_most_important_columns_are_complete_at_every_size(
    results: Path, size: tuple[int, int], ascii: bool
) -> None:
    async with open_runs(results, size, ascii=ascii) as pilot:
        text = pilot.screen_text()
        assert "amber-fox" in text
        assert ("+" if ascii else GLYPHS["finished"]) in text and "finished" in text.lower()
        if size[0] >= 60:
            assert "2.6318" in text and "40/40" in text and "brave-owl" in text
        if size[0] >= 120:
            assert "12.2k" in text and "nanochat-tui sample amber-fox" in text and "--steps 40" in text
        assert max(map(len, text.splitlines())) <= size[0]
        widths = [column.get_render_width(pilot.screen.table) for column in pilot.screen.table.ordered_columns]
        assert sum(widths) <= pilot.screen.table.size.width


async def test_table_and_details_are_ascii_only_on_request(results: Path) -> None:
    async with open_runs(results, ascii=True) as pilot:
        await pilot.press("space", "down", "space", "v")
        await pilot.wait_until(lambda: "brave-owl" in pilot.screen.query_one("#details").border_title)
        *lines, _footer = pilot.screen_text().splitlines()  # the footer is Textual's
        assert [line for line in lines if not line.isascii()] == []


async def test_an_empty_results_directory_explains_how_to_start(tmp_path: Path) -> None:
    async with open_runs(tmp_path) as pilot:
        assert "No runs in" in pilot.screen_text() and "nanochat-tui --no-ui train" in pilot.screen_text()
        for key in ("enter", "space", "d", "v", "S", "p", "r", "R", "D", "t", "g", "i", "escape"):
            shown_before = len(pilot.app.toasts)
            await pilot.press(key)
            assert len(pilot.app.toasts) == shown_before + 1, key


async def test_a_new_run_moves_neither_cursor_nor_marks(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("down", "space", "down")
        add_run(results, "stopped", "early-bird", age=1)
        await pilot.refresh()
        assert pilot.ids[0] == "early-bird" and pilot.run_at_cursor == "calm-elm"
        assert [pilot.cell(run_id, "series").strip() for run_id in pilot.ids] == ["", "", "1", "", ""]


async def test_a_refresh_updates_only_changed_cells(results: Path) -> None:
    async with open_runs(results) as pilot:
        touched: list[tuple[str, str]] = []
        table = pilot.screen.table
        update = table.update_cell

        def record_update(row: Any, column: Any, value: Any, **more: Any) -> None:
            touched.append((Path(row).name, column))
            update(row, column, value, **more)

        table.update_cell = record_update  # type: ignore[method-assign]
        await pilot.refresh()
        assert touched == []
        with open(results / "runs" / "amber-fox" / "events.jsonl", "a") as file:
            guard = {"v": 1, "t": 1, "kind": "guard", "rule": "spike", "step": 40, "action": "warn", "value": 9.0}
            file.write(json.dumps(guard | {"threshold": 8.0, "hint": "lower the rate"}) + "\n")
        await pilot.refresh()
        assert touched == [("amber-fox", "guards")] and pilot.cell("amber-fox", "guards") == "▲1"


async def test_a_refresh_keeps_the_scroll_position(tmp_path: Path) -> None:
    for number in range(60):
        add_run(tmp_path, "finished", f"run-{number:02}", age=100.0 * number)
    async with open_runs(tmp_path) as pilot:
        await pilot.press("end")
        await pilot.pause()
        scroll = pilot.screen.table.scroll_offset.y
        assert scroll > 20 and pilot.run_at_cursor == "run-59"
        add_run(tmp_path, "finished", "new-one", age=1)
        await pilot.refresh()
        await pilot.pause()
        assert pilot.run_at_cursor == "run-59"
        assert abs(pilot.screen.table.scroll_offset.y - scroll) <= 1


# --- damaged runs ---------------------------------------------------------------------------------


async def test_an_unreadable_run_is_shown_with_the_reason(results: Path) -> None:
    (results / "runs" / "brave-owl" / "config.json").write_text("{not json")
    (results / "runs" / "calm-elm" / "config.json").unlink()
    with open(results / "runs" / "deep-moss" / "events.jsonl", "a") as file:
        file.write('{"v": 99, "t": 1, "kind": "later"}\n')
    (results / "runs" / "amber-fox" / "events.jsonl").write_bytes(b"\x00\xff garbage\n" * 5)
    async with open_runs(results) as pilot:
        reasons = {
            "brave-owl": "damaged",
            "calm-elm": "config.json not found",
            "deep-moss": "newer version",
            "amber-fox": "5 lines of events.jsonl could not be read",
        }
        assert sorted(pilot.ids) == sorted(reasons)
        for run_id, reason in reasons.items():
            await pilot.select_run(run_id)
            await pilot.wait_until(lambda reason=reason: reason in " ".join(pilot.screen_text().split()))
            assert pilot.cell(run_id, "state").endswith("!")
        await pilot.select_run("brave-owl")
        await pilot.press("R", "r")
        assert (
            "brave-owl cannot be restarted" in pilot.app.toasts[0]
            and "brave-owl cannot be resumed" in pilot.app.toasts[1]
        )


async def test_a_cropped_summary_ends_with_an_ellipsis(results: Path) -> None:
    (results / "runs" / "amber-fox" / "config.json").unlink()
    async with open_runs(results, (60, 24)) as pilot:
        await pilot.select_run("amber-fox")
        await pilot.wait_for_text("config.json not")
        assert pilot.screen_text().splitlines()[-2].endswith("…")


@pytest.mark.parametrize("part", ["resolved", "facts", "given", "parent"])
async def test_a_manifest_with_a_wrong_type_is_reported(results: Path, part: str) -> None:
    run = Run(results / "runs" / "amber-fox")
    run.config_path.write_text(json.dumps(json.loads(run.config_path.read_text()) | {part: 3}))
    async with open_runs(results) as pilot:
        await pilot.select_run("amber-fox")
        await pilot.wait_until(lambda: "amber-fox cannot be read" in " ".join(pilot.screen_text().split()))
        assert pilot.cell("amber-fox", "state").endswith("!")
        await pilot.press("space", "down", "d")
        assert "amber-fox" in pilot.screen_text()


async def test_a_log_that_became_shorter_is_read_again(results: Path) -> None:
    async with open_runs(results) as pilot:
        log = results / "runs" / "amber-fox" / "events.jsonl"
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:8]))
        await pilot.refresh()
        assert pilot.cell("amber-fox", "step").strip() == "5/40"
        await pilot.wait_until(lambda: "was replaced or truncated" in pilot.screen_text())


async def test_deleting_the_directory_of_a_marked_run_is_reported(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("down", "space", "v")
        shutil.rmtree(results / "runs" / "brave-owl")
        await pilot.refresh()
        assert pilot.ids == ["amber-fox", "calm-elm", "deep-moss"] and pilot.run_at_cursor == "calm-elm"
        assert pilot.app.toasts == ["brave-owl was deleted."]
        assert not pilot.screen.overlay.display


# --- filter and order -----------------------------------------------------------------------------


async def test_every_word_of_the_filter_must_match(results: Path) -> None:
    fitting = {
        "owl": ["brave-owl"],
        "KILLED": ["brave-owl"],
        "bigram crash": ["deep-moss"],
        "text.txt scalar": ["amber-fox", "brave-owl", "calm-elm", "deep-moss"],
        "mini-gpt finished": [],
    }
    async with open_runs(results) as pilot:
        await pilot.press("slash")
        for typed, found in fitting.items():
            pilot.screen.query_one("#filter", Input).value = typed
            await pilot.pause()
            assert pilot.ids == found, typed
            assert (f"Runs: {len(found)} of 4" in pilot.screen_text()) == (len(found) < 4), typed
            assert ("No runs match" in pilot.screen_text()) == (not found), typed


async def test_escape_closes_the_filter_and_then_clears_it(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("slash", "o", "w", "l")
        assert pilot.ids == ["brave-owl"]
        await pilot.press("escape")
        assert pilot.screen.focused is pilot.screen.table and pilot.ids == ["brave-owl"]
        await pilot.press("escape")
        assert len(pilot.ids) == 4 and not pilot.screen.filter_input.display
        await pilot.press("escape")
        assert "There is nothing to close" in pilot.app.toasts[-1]


async def test_a_key_sorts_by_the_next_column_and_shows_its_name(results: Path) -> None:
    async with open_runs(results) as pilot:
        orders = {}
        for _ in range(10):
            await pilot.press("o")
            words = str(pilot.screen.runs.border_subtitle)
            orders[words.removeprefix("Sorted by ")] = pilot.ids
        assert orders["run ↑"] == ["amber-fox", "brave-owl", "calm-elm", "deep-moss"]
        assert orders["step ↓"] == ["calm-elm", "brave-owl", "amber-fox", "deep-moss"]
        assert orders["best bpb ↑"][:2] == ["calm-elm", "amber-fox"]
        assert orders["guards ↓"][0] == "calm-elm"
        assert len(orders) == 10
        assert list(orders)[-1] == "age ↑"


async def test_reversing_the_order_keeps_the_cursor_on_its_run(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("down", "O")
        assert pilot.ids == ["deep-moss", "calm-elm", "brave-owl", "amber-fox"]
        assert pilot.run_at_cursor == "brave-owl" and "age ↓" in pilot.screen_text()


async def test_a_click_on_a_label_sorts_and_another_click_reverses(results: Path) -> None:
    async with open_runs(results) as pilot:
        place = pilot.screen_text().splitlines()[2].index("run")
        assert await pilot.click(RowTable, offset=(place - 2, 0))
        assert "run ↑" in pilot.screen_text()
        await pilot.click(RowTable, offset=(place - 2, 0))
        assert "run ↓" in pilot.screen_text() and pilot.ids[0] == "deep-moss"


async def test_a_row_that_moves_takes_the_cursor_with_it(results: Path) -> None:
    async with open_runs(results) as pilot:
        pilot.screen.runs.sort = ("guards", False)
        await pilot.refresh()
        assert pilot.ids == ["calm-elm", "amber-fox", "brave-owl", "deep-moss"]
        await pilot.select_run("deep-moss")
        guard = {"v": 1, "t": 1, "kind": "guard", "rule": "spike", "step": 9, "action": "warn", "value": 9.0}
        with open(results / "runs" / "deep-moss" / "events.jsonl", "a") as file:
            file.write(4 * (json.dumps(guard | {"threshold": 8.0, "hint": "lower the rate"}) + "\n"))
        await pilot.refresh()
        assert pilot.ids == ["deep-moss", "calm-elm", "amber-fox", "brave-owl"]
        assert pilot.run_at_cursor == "deep-moss" and pilot.cell("deep-moss", "guards") == "▲4"
        await pilot.press("i")
        await pilot.wait_until(lambda: "deep-moss" in pilot.screen_text())


async def test_runs_without_a_value_come_last_in_both_orders(results: Path) -> None:
    add_run(results, "failed", "early-bird", age=60.0)
    async with open_runs(results) as pilot:
        pilot.screen.runs.sort = ("bpb", False)
        await pilot.refresh()
        assert pilot.ids[-1] == "early-bird"
        await pilot.press("O")
        assert pilot.ids[-1] == "early-bird"


async def test_the_sorted_column_is_shown_on_a_narrow_terminal(results: Path) -> None:
    async with open_runs(results, (60, 15)) as pilot:
        pilot.screen.runs.sort = ("speed", False)
        await pilot.refresh()
        assert "tok/s ↓" in pilot.screen_text()


# --- sizes, themes --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (20, 5), (200, 60)])
async def test_the_terminal_can_be_resized(results: Path, size: tuple[int, int]) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("down", "space", "v")
        await pilot.resize_terminal(*size)
        await pilot.refresh()
        await pilot.press("D", "n", "d")
        await pilot.resize_terminal(120, 40)
        await pilot.press("v")
        assert pilot.run_at_cursor == "brave-owl" and "amber-fox" in pilot.screen_text()


async def test_changing_the_theme_recolours_the_cells(results: Path) -> None:
    async with open_runs(results) as pilot:
        await pilot.press("space")
        table = pilot.screen.table
        before = table.get_cell(next(iter(table.rows)), "series").style
        pilot.app.theme = THEMES[1].name
        await pilot.pause()
        assert table.get_cell(next(iter(table.rows)), "series").style != before


async def test_a_finished_run_is_listed_as_on_the_command_line(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    async with open_runs(tmp_path / "results") as pilot:
        assert pilot.ids == [run.id] and pilot.cell(run.id, "state") == "✔ finished"
        assert pilot.cell(run.id, "step") == "20/20"


async def test_restart_opens_the_form_with_the_settings_of_the_run(results: Path) -> None:
    async with open_dashboard(results, screen="runs") as pilot:
        await pilot.wait_until(lambda: pilot.screen.query_one(RunList).row_at_cursor)
        await pilot.press("R")
        await pilot.wait_until(lambda: isinstance(pilot.screen, TrainScreen) and pilot.screen.query(SettingsForm))
        await pilot.wait_until(lambda: pilot.screen.query_one(SettingsForm).given.get("steps") == "40")
