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
    async with open_sample_screen(results) as seat:
        seat.write_prompt("the ")
        await seat.generate()
        await seat.press("b")
        await seat.wait_until_generated("second")
        first, second = seat.pane(), seat.pane("second")
        assert first.request == second.request and second.checkpoint != first.checkpoint
        await seat.set("seed", 5)
        await seat.generate()
        await seat.wait_until_generated("second")
        assert second.request and second.request.settings["seed"] == 5 and first.request == second.request
        await seat.press("x")
        assert "Nothing is generating" in seat.app.said[-1]
        await seat.press("b")
        assert not second.display and first.display


async def test_each_pane_has_its_own_checkpoint(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.generate()
        before = seat.text()
        await seat.press("b")
        await seat.wait_until_generated("second")
        await seat.press("c", *"bigram", "enter")
        await seat.until(lambda: not isinstance(seat.app.screen, CheckpointPicker))
        await seat.wait_until_generated("second")
        generation = seat.pane("second").generation
        assert generation and generation.checkpoint.model_kind == "bigram" and seat.text() == before
        assert "bigram" in str(seat.pane("second").border_title)


async def test_without_runs_the_status_explains_how_to_start_one(tmp_path: Path) -> None:
    async with open_sample_screen(tmp_path) as seat:
        assert "No runs yet" in seat.status() and "f5" in seat.status()
        for key in ("enter", "c", "b", "x", "y", "w", "escape", "right"):
            await seat.press(key)
        assert len(seat.app.said) == 8


async def test_a_run_without_checkpoint_is_reported_until_it_has_one(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    async with open_sample_screen(tmp_path / "results") as seat:
        assert "No checkpoint" in seat.status()
        await seat.press("enter")
        assert "No checkpoint" in seat.app.said[0]
        launch(run).wait()
        seat.app.refresh_runs()
        await seat.until(lambda: seat.pane().checkpoint)
        await seat.generate()
        assert seat.text()


async def test_deleted_checkpoints_are_reported(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    shutil.rmtree(run.checkpoints_dir)
    async with open_sample_screen(tmp_path / "results") as seat:
        assert "were deleted" in seat.status()


async def test_the_newest_checkpoint_is_the_newest_at_the_time_of_the_request(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    newest = run.checkpoints_dir / "step-00000020"
    newest.rename(newest.with_name("kept"))
    async with open_sample_screen(tmp_path / "results") as seat:
        await seat.generate()
        assert "step 15" in str(seat.pane().border_title)
        await seat.press("c")
        seat.app.state.watches[0].state = "running"  # so that its folder is read again
        newest.with_name("kept").rename(newest)
        seat.app.screen.post_message(RunsRefreshed())
        options = seat.app.screen.query_one(OptionList)
        await seat.until(lambda: "step 20" in str(options.get_option_at_index(0).prompt))
        await seat.press("escape")
        assert "Newer checkpoint: step 20" in str(seat.pane().border_subtitle)
        assert "step 15" in str(seat.pane().border_title)
        await seat.generate()
        assert "step 20" in str(seat.pane().border_title)


async def test_the_list_of_checkpoints_is_filtered_by_words(results: Path) -> None:
    async with open_sample_screen(results) as seat:
        await seat.press("c")
        picker = seat.app.screen
        options = picker.query_one(OptionList)
        everything = options.option_count
        await seat.press(*"bigram")
        assert 0 < options.option_count < everything
        await seat.press("down", "down", "down", "up", "enter")
        await seat.until(lambda: seat.app.screen is seat.screen)
        await seat.pilot.pause()
        chosen = seat.pane().checkpoint
        assert chosen and (chosen.step, chosen.model_kind) == (15, "bigram")
        await seat.press("c", *"nothing fits", "enter")
        assert "No matching checkpoints" in seat.app.said[-1]


async def test_the_selected_run_is_chosen_first(results: Path) -> None:
    oldest = list_runs_in_view(results)[0]
    async with open_sample_screen(results, selected=oldest) as seat:
        assert seat.pane().checkpoint and seat.pane().checkpoint.run_id == oldest.id  # type: ignore[union-attr]


async def test_a_selected_run_outside_the_results_directory_can_be_sampled(results: Path, tmp_path: Path) -> None:
    finished_run(tmp_path)
    elsewhere = list_runs_in_view(results)[0]
    async with open_sample_screen(tmp_path / "results", selected=elsewhere) as seat:
        await seat.generate()
        assert seat.pane().generation.checkpoint.run_id == elsewhere.id  # type: ignore[union-attr]
