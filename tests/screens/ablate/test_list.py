"""The list of studies, and studies that are damaged or deleted."""

import shutil
from pathlib import Path

from ablate_screen import ablate_screen, open_study, screen_of, table_of, view_of, wait_for_studies
from seats import append, held, new_study

from engines.ablation.plan import Job
from engines.ablation.study import list_studies
from screens.ablate.reader import StudiesReader

KEYS = ("p", "X", "r", "v", "e", "b", "w", "R", "enter", "escape")


async def test_without_a_study_every_key_shows_why_it_does_nothing(tmp_path: Path) -> None:
    async with ablate_screen(tmp_path) as seat:
        await seat.sees("No studies yet", "nanochat-tui --no-ui ablate --axis")
        for key in KEYS:
            count = len(seat.app.said)
            await seat.press(key)
            assert len(seat.app.said) == count + 1, key


async def test_the_list_shows_state_progress_axes_and_base_with_the_newest_first(results: Path) -> None:
    new_study(results.parent, {"steps": (10, 20)}, pick="one-at-a-time")
    async with ablate_screen(results) as seat:
        await wait_for_studies(seat)
        table = table_of(seat)
        assert [Path(key).name for key in table.row_keys] == ["study-2", "study-1"]
        newest, oldest = table.row_keys
        assert table.cell_text(oldest, "state") == "✔ finished" and table.cell_text(oldest, "done") == "4/4"
        assert table.cell_text(newest, "state") == "† killed" and table.cell_text(newest, "done") == "0/4"
        assert table.cell_text(oldest, "axes") == "lr=0.03,0.3" and "steps=20" in table.cell_text(oldest, "base")
        assert table.cell_text(newest, "design") == "one-at-a-time"


async def test_a_study_that_cannot_be_read_or_is_deleted_is_reported(results: Path) -> None:
    study = new_study(results.parent, {"lr": (0.1, 0.2)})
    study.config_path.write_text("{")
    async with ablate_screen(results, (200, 60)) as seat:
        await wait_for_studies(seat)
        assert "plan.json" in seat.seen()
        table = table_of(seat)
        table.move_cursor(row=table.row_keys.index(str(study.path)))
        await seat.press("enter")
        await seat.hears("no readable plan.json")
        assert screen_of(seat).view == "list"
        table.move_cursor(row=1 - table.cursor_row)
        await open_study(seat)
        shutil.rmtree(results / "studies")
        await seat.hears("its directory was deleted")
        await seat.sees("No studies yet")


def test_a_study_is_stopping_until_another_queue_starts(tmp_path: Path) -> None:
    study = new_study(tmp_path, {"lr": (0.03, 0.3)})
    start = {"t": 0.0, "kind": "run", "pid": 1, "host": "", "start": 1}
    append(study, start, {"t": 1.0, "kind": "control", "request": "1-stop.json", "verb": "stop", "outcome": "done"})
    reader = StudiesReader(study.results)
    with held(study):
        ((row,), _) = reader.read()
        assert row.is_stopping
        append(study, start)
        ((row,), _) = reader.read()
        assert not row.is_stopping


async def test_a_cell_waits_for_a_base_whose_seeds_are_not_all_done(results: Path) -> None:
    """The base's second run is deleted, so there is nothing to compare with."""
    study = list_studies(results)[0]
    run = study.find_run(Job(study.plan.base_index, study.plan.seeds[1]))
    assert run
    shutil.rmtree(run.path)
    async with ablate_screen(results) as seat:
        await open_study(seat)
        await seat.sees("waiting for the base")
        assert view_of(seat).snapshot
