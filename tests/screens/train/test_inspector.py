"""The inspector on real runs: parameters, gradients, attention weights and computation graphs."""

import asyncio
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from builders import finished_run
from seats import Seat, add_run, append, seated
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


def inspected(run: Run) -> dict[str, object]:
    watch = WatchedRun(run)
    watch.poll()
    text = max(watch.history.samples[-1]["text"].split("\n"), key=len)
    return inspect(list_checkpoints(watch)[0].path, text or None, "", 2, 4)


async def open_inspector(seat: Seat) -> None:
    await seat.press("m")
    await seat.until(lambda: seat.screen.query_one("#tensors", OptionList).option_count)
    await seat.pilot.pause()


async def choose(seat: Seat, label: str) -> HeatMap:
    options = seat.screen.query_one("#tensors", OptionList)
    labels = [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]
    options.highlighted = next(index for index, text in enumerate(labels) if label in text)
    await seat.pilot.pause()
    return seat.screen.query_one("#values", HeatMap)


async def test_parameters_and_gradients_are_those_of_the_newest_checkpoint(run: Run) -> None:
    found = inspected(run)
    async with seated(run.path.parents[1], run=run) as seat:
        await open_inspector(seat)
        assert f"loss {found['loss']:.4f} nats per token" in seat.told("#inspector-status")
        gradients = seat.screen.query_one("#gradients", HeatMap)
        for entry in found["parameters"]:  # type: ignore[attr-defined]
            values = await choose(seat, entry["name"])
            assert values.border_title == entry["name"] and gradients.border_title == f"{entry['name']}.grad"
            assert values.rows == json.loads(json.dumps(entry["values"])) and gradients.rows == entry["gradients"]
            assert gradients.display


async def test_of_a_sample_with_several_documents_the_longest_is_used(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5, data="names")
    watch = WatchedRun(run)
    watch.poll()
    append(run, {**watch.history.samples[-1], "text": "a\nab\n"})  # names have no line break
    async with seated(tmp_path / "results", run=run) as seat:
        await open_inspector(seat)
        assert seat.told("#inspector-status").endswith("'ab'")


async def test_without_samples_the_text_is_made_of_the_vocabulary(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5, sample_tokens=0)
    async with seated(tmp_path / "results", run=run) as seat:
        await open_inspector(seat)
        assert seat.told("#inspector-status").endswith("abcdefghi'")


async def test_an_inspection_is_finished_even_if_a_newer_checkpoint_arrives(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5)
    requested, finished, may_finish = [], [], asyncio.Semaphore(0)

    async def inspect_slowly(target: InspectionTarget, node: str) -> dict[str, Any]:
        requested.append(target)
        await may_finish.acquire()
        result = await inspect_in_subprocess(target, node)
        finished.append(target)
        return result

    async with seated(tmp_path / "results", run=run) as seat:
        inspector = seat.screen.query_one(Inspector)
        inspector.inspect = inspect_slowly
        await seat.press("m")
        await seat.until(lambda: requested)
        shutil.copytree(get_checkpoint_path(run.checkpoints_dir, 5), get_checkpoint_path(run.checkpoints_dir, 6))
        assert seat.live.run_watch
        inspector.inspect_run(seat.live.run_watch)
        for count in (1, 2):
            may_finish.release()
            await seat.until(lambda count=count: len(finished) == count)
            await seat.until(lambda: seat.screen.query_one("#tensors", OptionList).option_count)
        assert [target.checkpoint[-1] for target in finished] == ["5", "6"] and finished == requested


async def test_a_run_is_shown_again_after_a_run_without_checkpoint(run: Run) -> None:
    results = run.path.parents[1]
    other = add_run(results, "killed", "without-checkpoint")
    async with seated(results, run=run) as seat:
        assert isinstance(seat.screen, TrainScreen)
        await open_inspector(seat)
        seen = seat.told("#inspector-status")
        await seat.screen.show_run(other)
        await seat.sees("No checkpoint to inspect yet")
        assert not seat.screen.query_one("#inspection").display
        await seat.screen.show_run(run)
        await seat.until(lambda: seat.told("#inspector-status") == seen)
        assert seat.screen.query_one("#inspection").display
    shutil.rmtree(other.path)


async def test_rows_of_the_embedding_are_labelled_with_tokens(run: Run) -> None:
    found = inspected(run)
    async with seated(run.path.parents[1], run=run) as seat:
        await open_inspector(seat)
        first = found["parameters"][0]  # type: ignore[index]
        values = await choose(seat, first["name"])
        assert values.labels == [repr(token)[1:-1] for token in found["vocabulary"]]  # type: ignore[attr-defined]


async def test_attention_is_shown_head_by_head_without_a_gradient(run: Run) -> None:
    found = inspected(run)
    async with seated(run.path.parents[1], run=run) as seat:
        await open_inspector(seat)
        for place, head in enumerate(found["attention"]):  # type: ignore[arg-type,var-annotated]
            values = await choose(seat, f"layer {head['layer']}, head {head['head']}: attention")
            assert values.rows == head["weights"], place
            assert "Attention weights (rows: queries)" in str(values.border_title)
            assert not seat.screen.query_one("#gradients").display
        for row in values.rows:
            assert sum(row) == pytest.approx(1)


async def test_the_computation_graph_of_the_value_at_the_cursor_is_shown(run: Run) -> None:
    found = inspected(run)
    async with seated(run.path.parents[1], size=(200, 60), run=run) as seat:
        await open_inspector(seat)
        entry = found["nodes"][0]  # type: ignore[index]
        values = await choose(seat, entry["name"])
        assert "arrows to choose one" in seat.told("#graph-text")
        values.focus()
        await seat.press("down", "right")
        value = entry["values"][1][1]
        assert values.border_subtitle == f"[1,1] = {value:.4g}"
        await seat.until(lambda: seat.told("#graph-text").startswith(f"{entry['name']}[1,1] = {value:.4g}  gradient"))
        assert " × " in seat.told("#graph-text")


async def test_a_tensor_run_cannot_be_inspected(tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished", mode="tensor")
    async with seated(tmp_path, run=run) as seat:
        await seat.press("m")
        await seat.sees("runs of the scalar engine only")


async def test_a_run_without_checkpoint_cannot_be_inspected(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")
    async with seated(tmp_path, run=run) as seat:
        await seat.press("m")
        await seat.sees("No checkpoint to inspect yet. Press C to write one.")


async def test_a_damaged_checkpoint_is_reported(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5)
    for weights in run.checkpoints_dir.rglob("*.safetensors"):
        weights.write_bytes(b"garbage")
    async with seated(tmp_path / "results", run=list_runs(tmp_path / "results")[0]) as seat:
        await seat.press("m")
        await seat.until(lambda: seat.told("#inspector-status") not in ("", "Inspecting ..."))
        assert "damaged" in seat.told("#inspector-status")


async def test_a_cancelled_inspection_leaves_no_process(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_inspection.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def processes() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if "slow_inspection" in child.cmdline()]

    async with seated(run.path.parents[1], run=run) as seat:
        seat.screen.query_one(Inspector).inspect = partial(inspect_in_subprocess, module="slow_inspection")
        await seat.press("m")
        await seat.until(processes)
        seat.app.workers.cancel_all()
        await seat.until(lambda: not processes())


async def test_an_option_of_a_replaced_inspection_is_ignored(run: Run) -> None:
    async with seated(run.path.parents[1], run=run) as seat:
        await open_inspector(seat)
        options = seat.screen.query_one("#tensors", OptionList)
        removed = Option("a tensor of another model", id="9.wq"), Option("a head of another model", id="attention 99")
        for option in removed:
            options.post_message(OptionList.OptionHighlighted(options, option, 0))
        await seat.pilot.pause()
