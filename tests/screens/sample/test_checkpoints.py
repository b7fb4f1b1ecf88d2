"""Choosing and comparing checkpoints."""

import shutil
from pathlib import Path

from builders import finished_run, make_run
from sample_screen import open_sample_screen
from textual.widgets import OptionList

from engines.runs.launch import launch
from engines.runs.lookup import list_runs_in_view
from screens.messages import RunsRefreshed
from screens.sample.checkpoint_picker import CheckpointPicker


async def test_two_compared_checkpoints_get_the_same_request(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        pilot.write_prompt("the ")
        await pilot.generate()
        await pilot.press("b")
        await pilot.wait_until_generated("second")
        first, second = pilot.pane(), pilot.pane("second")
        assert first.request == second.request and second.checkpoint != first.checkpoint
        await pilot.set("seed", 5)
        await pilot.generate()
        await pilot.wait_until_generated("second")
        assert second.request and second.request.settings["seed"] == 5 and first.request == second.request
        await pilot.press("x")
        assert "Nothing is generating" in pilot.app.toasts[-1]
        await pilot.press("b")
        assert not second.display and first.display


async def test_each_pane_has_its_own_checkpoint(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.generate()
        before = pilot.text()
        await pilot.press("b")
        await pilot.wait_until_generated("second")
        await pilot.press("c", *"bigram", "enter")
        await pilot.wait_until(lambda: not isinstance(pilot.app.screen, CheckpointPicker))
        await pilot.wait_until_generated("second")
        generation = pilot.pane("second").generation
        assert generation and generation.checkpoint.model_kind == "bigram" and pilot.text() == before
        assert "bigram" in str(pilot.pane("second").border_title)


async def test_without_runs_the_status_explains_how_to_start_one(tmp_path: Path) -> None:
    async with open_sample_screen(tmp_path) as pilot:
        assert "No runs yet" in pilot.status() and "f5" in pilot.status()
        for key in ("enter", "c", "b", "x", "y", "w", "escape", "right"):
            await pilot.press(key)
        assert len(pilot.app.toasts) == 8


async def test_a_run_without_checkpoint_is_reported_until_it_has_one(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    async with open_sample_screen(tmp_path / "results") as pilot:
        assert "No checkpoint" in pilot.status()
        await pilot.press("enter")
        assert "No checkpoint" in pilot.app.toasts[0]
        launch(run).wait()
        pilot.app.refresh_runs()
        await pilot.wait_until(lambda: pilot.pane().checkpoint)
        await pilot.generate()
        assert pilot.text()


async def test_deleted_checkpoints_are_reported(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    shutil.rmtree(run.checkpoints_dir)
    async with open_sample_screen(tmp_path / "results") as pilot:
        assert "were deleted" in pilot.status()


async def test_the_newest_checkpoint_is_the_newest_at_the_time_of_the_request(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    newest = run.checkpoints_dir / "step-00000020"
    newest.rename(newest.with_name("kept"))
    async with open_sample_screen(tmp_path / "results") as pilot:
        await pilot.generate()
        assert "step 15" in str(pilot.pane().border_title)
        await pilot.press("c")
        pilot.app.state.watches[0].state = "running"  # so that its folder is read again
        newest.with_name("kept").rename(newest)
        pilot.app.screen.post_message(RunsRefreshed())
        options = pilot.app.screen.query_one(OptionList)
        await pilot.wait_until(lambda: "step 20" in str(options.get_option_at_index(0).prompt))
        await pilot.press("escape")
        assert "Newer checkpoint: step 20" in str(pilot.pane().border_subtitle)
        assert "step 15" in str(pilot.pane().border_title)
        await pilot.generate()
        assert "step 20" in str(pilot.pane().border_title)


async def test_the_list_of_checkpoints_is_filtered_by_words(results: Path) -> None:
    async with open_sample_screen(results) as pilot:
        await pilot.press("c")
        picker = pilot.app.screen
        options = picker.query_one(OptionList)
        everything = options.option_count
        await pilot.press(*"bigram")
        assert 0 < options.option_count < everything
        await pilot.press("down", "down", "down", "up", "enter")
        await pilot.wait_until(lambda: pilot.app.screen is pilot.screen)
        await pilot.pause()
        chosen = pilot.pane().checkpoint
        assert chosen and (chosen.step, chosen.model_kind) == (15, "bigram")
        await pilot.press("c", *"nothing fits", "enter")
        assert "No matching checkpoints" in pilot.app.toasts[-1]


async def test_the_selected_run_is_chosen_first(results: Path) -> None:
    oldest = list_runs_in_view(results)[0]
    async with open_sample_screen(results, selected=oldest) as pilot:
        assert pilot.pane().checkpoint and pilot.pane().checkpoint.run_id == oldest.id  # type: ignore[union-attr]


async def test_a_selected_run_outside_the_results_directory_can_be_sampled(results: Path, tmp_path: Path) -> None:
    finished_run(tmp_path)
    elsewhere = list_runs_in_view(results)[0]
    async with open_sample_screen(tmp_path / "results", selected=elsewhere) as pilot:
        await pilot.generate()
        assert pilot.pane().generation.checkpoint.run_id == elsewhere.id  # type: ignore[union-attr]
