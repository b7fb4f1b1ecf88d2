"""The list of studies, and studies that are damaged or deleted."""

import shutil
from pathlib import Path

from ablate_screen import ablate_screen, open_study, screen_of, table_of, view_of, wait_for_studies
from app_pilot import add_study, append_events, hold_lock

from engines.ablation.plan import Job
from engines.ablation.study import list_studies
from screens.ablate.reader import StudiesReader

KEYS = ("p", "X", "r", "v", "e", "b", "w", "R", "enter", "escape")


async def test_without_a_study_every_key_shows_why_it_does_nothing(tmp_path: Path) -> None:
    async with ablate_screen(tmp_path) as pilot:
        await pilot.wait_for_text("No studies yet", "nanochat-tui --no-ui ablate --axis")
        for key in KEYS:
            count = len(pilot.app.toasts)
            await pilot.press(key)
            assert len(pilot.app.toasts) == count + 1, key


async def test_the_list_shows_state_progress_axes_and_base_with_the_newest_first(results: Path) -> None:
    add_study(results.parent, {"steps": (10, 20)}, pick="one-at-a-time")
    async with ablate_screen(results) as pilot:
        await wait_for_studies(pilot)
        table = table_of(pilot)
        assert [Path(key).name for key in table.row_keys] == ["study-2", "study-1"]
        newest, oldest = table.row_keys
        assert table.cell_text(oldest, "state") == "✔ finished" and table.cell_text(oldest, "done") == "4/4"
        assert table.cell_text(newest, "state") == "† killed" and table.cell_text(newest, "done") == "0/4"
        assert table.cell_text(oldest, "axes") == "lr=0.03,0.3" and "steps=20" in table.cell_text(oldest, "base")
        assert table.cell_text(newest, "design") == "one-at-a-time"


async def test_a_study_that_cannot_be_read_or_is_deleted_is_reported(results: Path) -> None:
    study = add_study(results.parent, {"lr": (0.1, 0.2)})
    study.config_path.write_text("{")
    async with ablate_screen(results, (200, 60)) as pilot:
        await wait_for_studies(pilot)
        assert "plan.json" in pilot.screen_text()
        table = table_of(pilot)
        table.move_cursor(row=table.row_keys.index(str(study.path)))
        await pilot.press("enter")
        await pilot.wait_for_toast("no readable plan.json")
        assert screen_of(pilot).view == "list"
        table.move_cursor(row=1 - table.cursor_row)
        await open_study(pilot)
        shutil.rmtree(results / "studies")
        await pilot.wait_for_toast("its directory was deleted")
        await pilot.wait_for_text("No studies yet")


def test_a_study_is_stopping_until_another_queue_starts(tmp_path: Path) -> None:
    study = add_study(tmp_path, {"lr": (0.03, 0.3)})
    start = {"t": 0.0, "kind": "run", "pid": 1, "host": "", "start": 1}
    append_events(
        study, start, {"t": 1.0, "kind": "control", "request": "1-stop.json", "verb": "stop", "outcome": "done"}
    )
    reader = StudiesReader(study.results)
    with hold_lock(study):
        ((row,), _) = reader.read()
        assert row.is_stopping
        append_events(study, start)
        ((row,), _) = reader.read()
        assert not row.is_stopping


async def test_a_cell_waits_for_a_base_whose_seeds_are_not_all_done(results: Path) -> None:
    """The base's second run is deleted, so there is nothing to compare with."""
    study = list_studies(results)[0]
    run = study.find_run(Job(study.plan.base_index, study.plan.seeds[1]))
    assert run
    shutil.rmtree(run.path)
    async with ablate_screen(results) as pilot:
        await open_study(pilot)
        await pilot.wait_for_text("waiting for the base")
        assert view_of(pilot).snapshot
