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
    async with ablate_screen(tmp_path) as pilot:
        await open_editor(pilot)
        assert re.search(r" Halving  +false ", pilot.screen_text()) and re.search(r" Seed  +1337 ", pilot.screen_text())


async def test_the_editor_shows_the_help_of_a_setting_and_warns_of_too_few_seeds(tmp_path: Path) -> None:
    async with ablate_screen(tmp_path) as pilot:
        editor = await open_editor(pilot)
        await enter_settings(pilot, editor, seeds="2")
        words = "4 × 2 seeds (no verdicts: they need at least 3 seeds)"
        await pilot.wait_until(lambda: words in pilot.text_of("#plan-text"))
        await pilot.press("tab", "tab")
        await pilot.wait_for_text("--pick: design: every combination")


async def test_entries_are_explained_counted_and_checked(results: Path) -> None:
    async with ablate_screen(results) as pilot:
        editor = await type_axes(pilot, "lr=0.1,x\nnothing=1")
        assert "lr must be a number or auto, not 'x'" in pilot.text_of("#plan-text")
        await pilot.press("f5")
        await pilot.wait_for_toast("'nothing': unknown setting")
        editor.query_one(TextArea).text = "warm"
        editor.query_one(TextArea).move_cursor((0, 4))
        await pilot.wait_for_text("did you mean warmup_fraction")
        await type_axes(pilot, "mode=scalar,tensor\noptimizer=adamw,muon")
        await pilot.wait_for_text("3 × 3 seeds", "about", "1 not trained", "mode=scalar_optimizer=muon: ")
        await enter_settings(pilot, editor, seeds="5", pick="one-at-a-time", steps="100")
        await pilot.wait_for_text("× 5 seeds")
        await enter_settings(pilot, editor, halving="true", time_budget="5s")
        await pilot.wait_for_text("--halving cannot be combined")


async def test_a_study_is_planned_started_and_followed_to_its_end(tmp_path: Path) -> None:
    text = str(write_text(tmp_path))
    async with ablate_screen(tmp_path / "results") as pilot:
        editor = await type_axes(pilot, "lr=0.03,0.3")
        settings = {"data": text, "steps": "300", "batch_size": "2", "seeds": "2", "jobs": "1"}
        await enter_settings(pilot, editor, **settings)
        await pilot.press("f5")
        await pilot.wait_for_toast("study-1 started: 4 runs.")
        await pilot.wait_until(lambda: view_of(pilot).snapshot)
        seen_counts: set[int] = set()

        def is_done() -> bool:
            snapshot = view_of(pilot).snapshot
            assert snapshot
            seen_counts.add(snapshot.row.done)
            return snapshot.row.state == "finished" and snapshot.analysis.done == 4

        await pilot.wait_until(is_done)
        await pilot.pause()
        assert seen_counts & {0, 1, 2, 3} and cell_names(pilot) == ["lr=0.03", "lr=0.3"]
        await pilot.press("e")
        await pilot.wait_for_text("lr=0.3 instead of 0.03")
        assert not pilot.screen.query(PlanEditor)
    assert read_history(list_studies(tmp_path / "results")[0]).ended
