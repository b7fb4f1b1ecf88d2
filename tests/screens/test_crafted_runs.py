"""Runs of other programs: odd names, and manifests with values of every type, crash no screen."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from app_pilot import FIXTURES, AppPilot, note_on_failure, open_dashboard

from engines.runs.comparison import compare_settings
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.runs.watched_checkpoints import list_checkpoints
from screens.runs import columns, compare, details
from screens.runs.page import TextPage
from screens.runs.rows import RowReader
from screens.runs.screen import RunsScreen
from screens.shared.guard_table import render_guards
from screens.train.live import count_events
from screens.train.panel import render_panel
from screens.train.screen import TrainScreen
from screens.train.status_text import render_banner, render_phases, render_summary
from screens.train.tab_texts import render_events, render_log, render_samples

VALUES: dict[str, Any] = {
    "null": None, "true": True, "text": "\x1b[31m[bold]日本\x9b", "negative": -1, "huge": 10**400, "large": 1e308,
    "nan": float("nan"), "infinite": float("inf"), "list": [[], {}], "map": {"a": {"b": []}},
}  # fmt: skip
PLACES = (
    "created_at", "resolved", "facts", "given", "parent", "v", "resolved.steps", "resolved.mode", "resolved.model_kind",
    "resolved.data", "resolved.tokenizer", "resolved.checkpoint_dir", "facts.parameters", "facts.vocab_size",
    "parent.seconds", "parent.step", "given.lr",
)  # fmt: skip
NAMES = ("[bold]name[/", "日本語", "a b", "n" * 200, "esc\x1b[31mape", "-rf", "new\nline", "\udcff", "tab\t", "#1")
LEAVES = [place for place in PLACES if "." in place or place == "created_at"]  # can all be set together


def create_crafted_run(path: Path, value: Any, *places: str) -> Run:
    """Create a run with a value at some places of its manifest."""
    manifest = copy.deepcopy(json.loads((FIXTURES / "spikes-warned" / "config.json").read_text()))
    manifest.setdefault("parent", {"run": "other", "step": 1, "seconds": 1.0})
    for place in places:
        *parents, last = place.split(".")
        target = manifest
        for key in parents:
            target = target.setdefault(key, {})
        target[last] = value
    shutil.copytree(FIXTURES / "spikes-warned", path)
    run = Run(path)
    run.config_path.write_text(json.dumps(manifest))
    return run


def render_everything(watch: WatchedRun, ascii: bool) -> None:
    """Render all texts and tables that the screens show of a run."""
    (row,) = RowReader().read([watch], watch.run.path.parents[1])
    for column in columns.COLUMNS:
        columns.format_cell(column, row, ascii)
    for name in columns.SORTABLE:
        columns.sort_rows([row, row], name, True)
    for text in (
        details.render_details,
        details.render_summary,
        render_phases,
        render_banner,
        render_guards,
        render_panel,
        render_summary,
    ):
        text(watch, ascii)
    for words in (render_samples, render_events, render_log, count_events, list_checkpoints):
        words(watch)
    compare.compare_results([watch, watch], ascii)
    compare_settings([watch.config, watch.config])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", VALUES)
def test_every_text_about_a_run_is_rendered_whatever_its_manifest_contains(
    place: str, value: str, tmp_path: Path
) -> None:
    watch = WatchedRun(create_crafted_run(tmp_path / "runs" / "crafted", VALUES[value], place))
    watch.poll()
    for state in (watch.state, "starting", "running", "paused", "stuck", "killed"):
        watch.state = state
        render_everything(watch, ascii=state == "paused")


async def visit_every_screen(pilot: AppPilot) -> None:
    """Open each run, then its details, a comparison, an overlay and all other screens."""
    await pilot.press("2")
    screen = pilot.screen
    assert isinstance(screen, RunsScreen)
    await pilot.wait_until(lambda: screen.table.row_count == len(NAMES))
    await pilot.press("space")
    for number, key in enumerate(screen.table.row_keys):
        with note_on_failure(repr(key)):
            screen.table.move_cursor(row=number)
            await pilot.press("enter")
            await pilot.wait_until(lambda: isinstance(pilot.screen, TrainScreen))
            await pilot.wait_for_run(Run(Path(key)))
            await pilot.press("2")
    await pilot.press("i")
    assert isinstance(pilot.screen, TextPage)
    await pilot.press("escape", "o", "O", "d", "a", "escape", "v", "4", "1", "w", "3")
    await pilot.app.workers.wait_for_complete()
    assert not pilot.has_exited


async def test_odd_names_and_values_crash_no_screen(tmp_path: Path) -> None:
    for name, value in zip(NAMES, VALUES.values(), strict=True):
        create_crafted_run(tmp_path / "runs" / name, value, *LEAVES)
    async with open_dashboard(tmp_path, screen="ablate") as pilot:
        await visit_every_screen(pilot)


async def test_a_study_with_a_damaged_plan_crashes_no_screen(tmp_path: Path) -> None:
    for number, content in enumerate(("", "[]", "{}", '{"created_at": 1e308, "axes": 3}', '{"v": 99}', "\x00")):
        folder = tmp_path / "studies" / f"study-{number}"
        folder.mkdir(parents=True)
        for name in ("plan.json", "config.json"):
            (folder / name).write_text(content)
    async with open_dashboard(tmp_path) as pilot:
        await pilot.press("4")
        await pilot.app.workers.wait_for_complete()
        await pilot.press("enter", "e", "p", "X", "r", "w", "R", "escape", "down", "1", "2", "3")
        assert not pilot.has_exited
