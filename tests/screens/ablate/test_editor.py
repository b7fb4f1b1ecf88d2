"""The plan of a new study: hints, preview and problems, from the first key to the finished study."""

import re
from pathlib import Path

from ablate_screen import ablate_screen, cell_names, enter_settings, open_editor, type_axes, view_of
from builders import write_text
from textual.widgets import TextArea

from engines.ablation.study import list_studies
from engines.runs.history import read_history
from screens.ablate.editor import PlanEditor


async def test_the_editor_has_its_columns_before_the_form_of_a_run_was_opened(tmp_path: Path) -> None:
    async with ablate_screen(tmp_path) as seat:
        await open_editor(seat)
        assert re.search(r" Halving  +false ", seat.seen()) and re.search(r" Seed  +1337 ", seat.seen())


async def test_the_editor_shows_the_help_of_a_setting_and_warns_of_too_few_seeds(tmp_path: Path) -> None:
    async with ablate_screen(tmp_path) as seat:
        editor = await open_editor(seat)
        await enter_settings(seat, editor, seeds="2")
        words = "4 × 2 seeds (no verdicts: they need at least 3 seeds)"
        await seat.until(lambda: words in seat.told("#plan-text"))
        await seat.press("tab", "tab")
        await seat.sees("--pick: design: every combination")


async def test_entries_are_explained_counted_and_checked(results: Path) -> None:
    async with ablate_screen(results) as seat:
        editor = await type_axes(seat, "lr=0.1,x\nnothing=1")
        assert "lr must be a number or auto, not 'x'" in seat.told("#plan-text")
        await seat.press("f5")
        await seat.hears("'nothing' is not a training setting")
        editor.query_one(TextArea).text = "warm"
        editor.query_one(TextArea).move_cursor((0, 4))
        await seat.sees("did you mean warmup_fraction")
        await type_axes(seat, "mode=scalar,tensor\noptimizer=adamw,muon")
        await seat.sees("3 × 3 seeds", "about", "1 not trained", "mode=scalar_optimizer=muon: ")
        await enter_settings(seat, editor, seeds="5", pick="one-at-a-time", steps="100")
        await seat.sees("× 5 seeds")
        await enter_settings(seat, editor, halving="true", time_budget="5s")
        await seat.sees("--halving cannot be combined")


async def test_a_study_is_planned_started_and_followed_to_its_end(tmp_path: Path) -> None:
    text = str(write_text(tmp_path))
    async with ablate_screen(tmp_path / "results") as seat:
        editor = await type_axes(seat, "lr=0.03,0.3")
        settings = {"data": text, "steps": "300", "batch_size": "2", "seeds": "2", "jobs": "1"}
        await enter_settings(seat, editor, **settings)
        await seat.press("f5")
        await seat.hears("study-1 started: 4 runs.")
        await seat.until(lambda: view_of(seat).snapshot)
        seen: set[int] = set()

        def is_done() -> bool:
            snapshot = view_of(seat).snapshot
            assert snapshot
            seen.add(snapshot.row.done)
            return snapshot.row.state == "finished" and snapshot.analysis.done == 4

        await seat.until(is_done)
        await seat.pilot.pause()
        assert seen & {0, 1, 2, 3} and cell_names(seat) == ["lr=0.03", "lr=0.3"]
        await seat.press("e")
        await seat.sees("lr=0.3 instead of 0.03")
        assert not seat.screen.query(PlanEditor)
    assert read_history(list_studies(tmp_path / "results")[0]).ended
