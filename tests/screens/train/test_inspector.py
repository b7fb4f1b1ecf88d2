"""The inspector on real runs: parameters, gradients, attention weights and computation graphs."""

import asyncio
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from app_pilot import AppPilot, add_run, append_events, open_dashboard
from builders import finished_run
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from engines.checkpoints.folders import get_checkpoint_path
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.runs.watched_checkpoints import list_checkpoints
from engines.scalar.inspection import inspect
from screens.train.inspection import InspectionTarget, inspect_in_subprocess
from screens.train.inspector import Inspector
from screens.train.screen import TrainScreen
from screens.widgets.heat_map import HeatMap


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("lab"), model_kind="mini-gpt", width=4, heads=2, steps=10)


def inspect_run(run: Run) -> dict[str, object]:
    watch = WatchedRun(run)
    watch.poll()
    text = max(watch.history.samples[-1]["text"].split("\n"), key=len)
    return inspect(list_checkpoints(watch)[0].path, text or None, "", 2, 4)


async def open_inspector(pilot: AppPilot) -> None:
    await pilot.press("m")
    await pilot.wait_until(lambda: pilot.screen.query_one("#tensors", OptionList).option_count)
    await pilot.pause()


async def select_tensor(pilot: AppPilot, label: str) -> HeatMap:
    options = pilot.screen.query_one("#tensors", OptionList)
    labels = [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]
    options.highlighted = next(index for index, text in enumerate(labels) if label in text)
    await pilot.pause()
    return pilot.screen.query_one("#values", HeatMap)


async def test_parameters_and_gradients_are_those_of_the_newest_checkpoint(run: Run) -> None:
    found = inspect_run(run)
    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        await open_inspector(pilot)
        assert f"loss {found['loss']:.4f} nats per token" in pilot.text_of("#inspector-status")
        gradients = pilot.screen.query_one("#gradients", HeatMap)
        for entry in found["parameters"]:  # type: ignore[attr-defined]
            values = await select_tensor(pilot, entry["name"])
            assert values.border_title == entry["name"] and gradients.border_title == f"{entry['name']}.grad"
            assert values.rows == json.loads(json.dumps(entry["values"])) and gradients.rows == entry["gradients"]
            assert gradients.display


async def test_of_a_sample_with_several_documents_the_longest_is_used(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5, data="names")
    watch = WatchedRun(run)
    watch.poll()
    append_events(run, {**watch.history.samples[-1], "text": "a\nab\n"})  # names have no line break
    async with open_dashboard(tmp_path / "results", run=run) as pilot:
        await open_inspector(pilot)
        assert pilot.text_of("#inspector-status").endswith("'ab'")


async def test_without_samples_the_text_is_made_of_the_vocabulary(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5, sample_tokens=0)
    async with open_dashboard(tmp_path / "results", run=run) as pilot:
        await open_inspector(pilot)
        assert pilot.text_of("#inspector-status").endswith("abcdefghi'")


async def test_an_inspection_is_finished_even_if_a_newer_checkpoint_arrives(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5)
    requested, finished, may_finish = [], [], asyncio.Semaphore(0)

    async def inspect_slowly(target: InspectionTarget, node: str) -> dict[str, Any]:
        requested.append(target)
        await may_finish.acquire()
        result = await inspect_in_subprocess(target, node)
        finished.append(target)
        return result

    async with open_dashboard(tmp_path / "results", run=run) as pilot:
        inspector = pilot.screen.query_one(Inspector)
        inspector.inspect = inspect_slowly
        await pilot.press("m")
        await pilot.wait_until(lambda: requested)
        shutil.copytree(get_checkpoint_path(run.checkpoints_dir, 5), get_checkpoint_path(run.checkpoints_dir, 6))
        assert pilot.live.run_watch
        inspector.inspect_run(pilot.live.run_watch)
        for count in (1, 2):
            may_finish.release()
            await pilot.wait_until(lambda count=count: len(finished) == count)
            await pilot.wait_until(lambda: pilot.screen.query_one("#tensors", OptionList).option_count)
        assert [target.checkpoint[-1] for target in finished] == ["5", "6"] and finished == requested


async def test_a_run_is_shown_again_after_a_run_without_checkpoint(run: Run) -> None:
    results = run.path.parents[1]
    other = add_run(results, "killed", "without-checkpoint")
    async with open_dashboard(results, run=run) as pilot:
        assert isinstance(pilot.screen, TrainScreen)
        await open_inspector(pilot)
        status = pilot.text_of("#inspector-status")
        await pilot.screen.show_run(other)
        await pilot.wait_for_text("No checkpoint to inspect yet")
        assert not pilot.screen.query_one("#inspection").display
        await pilot.screen.show_run(run)
        await pilot.wait_until(lambda: pilot.text_of("#inspector-status") == status)
        assert pilot.screen.query_one("#inspection").display
    shutil.rmtree(other.path)


async def test_rows_of_the_embedding_are_labelled_with_tokens(run: Run) -> None:
    found = inspect_run(run)
    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        await open_inspector(pilot)
        first = found["parameters"][0]  # type: ignore[index]
        values = await select_tensor(pilot, first["name"])
        assert values.labels == [repr(token)[1:-1] for token in found["vocabulary"]]  # type: ignore[attr-defined]


async def test_attention_is_shown_head_by_head_without_a_gradient(run: Run) -> None:
    found = inspect_run(run)
    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        await open_inspector(pilot)
        for place, head in enumerate(found["attention"]):  # type: ignore[arg-type,var-annotated]
            values = await select_tensor(pilot, f"layer {head['layer']}, head {head['head']}: attention")
            assert values.rows == head["weights"], place
            assert "Attention weights (rows: queries)" in str(values.border_title)
            assert not pilot.screen.query_one("#gradients").display
        for row in values.rows:
            assert sum(row) == pytest.approx(1)


async def test_the_computation_graph_of_the_value_at_the_cursor_is_shown(run: Run) -> None:
    found = inspect_run(run)
    async with open_dashboard(run.path.parents[1], size=(200, 60), run=run) as pilot:
        await open_inspector(pilot)
        entry = found["nodes"][0]  # type: ignore[index]
        values = await select_tensor(pilot, entry["name"])
        assert "arrow keys to choose one" in pilot.text_of("#graph-text")
        values.focus()
        await pilot.press("down", "right")
        value = entry["values"][1][1]
        assert values.border_subtitle == f"[1,1] = {value:.4g}"
        await pilot.wait_until(
            lambda: pilot.text_of("#graph-text").startswith(f"{entry['name']}[1,1] = {value:.4g}  gradient")
        )
        assert " × " in pilot.text_of("#graph-text")


async def test_a_tensor_run_cannot_be_inspected(tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished", mode="tensor")
    async with open_dashboard(tmp_path, run=run) as pilot:
        await pilot.press("m")
        await pilot.wait_for_text("runs of the scalar engine only")


async def test_a_run_without_checkpoint_cannot_be_inspected(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    async with open_dashboard(tmp_path, run=run) as pilot:
        await pilot.press("m")
        await pilot.wait_for_text("No checkpoint to inspect yet. Press C to write one.")


async def test_a_damaged_checkpoint_is_reported(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5)
    for weights in run.checkpoints_dir.rglob("*.safetensors"):
        weights.write_bytes(b"garbage")
    async with open_dashboard(tmp_path / "results", run=list_runs(tmp_path / "results")[0]) as pilot:
        await pilot.press("m")
        await pilot.wait_until(lambda: pilot.text_of("#inspector-status") not in ("", "Inspecting …"))
        assert "damaged" in pilot.text_of("#inspector-status")


async def test_a_cancelled_inspection_leaves_no_process(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_inspection.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def inspection_processes() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if "slow_inspection" in child.cmdline()]

    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        pilot.screen.query_one(Inspector).inspect = partial(inspect_in_subprocess, module="slow_inspection")
        await pilot.press("m")
        await pilot.wait_until(inspection_processes)
        pilot.app.workers.cancel_all()
        await pilot.wait_until(lambda: not inspection_processes())


async def test_an_option_of_a_replaced_inspection_is_ignored(run: Run) -> None:
    async with open_dashboard(run.path.parents[1], run=run) as pilot:
        await open_inspector(pilot)
        options = pilot.screen.query_one("#tensors", OptionList)
        removed = Option("a tensor of another model", id="9.wq"), Option("a head of another model", id="attention 99")
        for option in removed:
            options.post_message(OptionList.OptionHighlighted(options, option, 0))
        await pilot.pause()
