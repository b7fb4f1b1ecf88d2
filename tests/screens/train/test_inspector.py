"""The microscope on a real run: the checkpoint's numbers, who looks at whom, and where a number comes from."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
from builders import finished_run
from seats import Seat, add_run, append, play
from textual.widgets import OptionList

from engines.checkpoints.folders import get_checkpoint_path
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.runs.watched_checkpoints import list_checkpoints
from engines.scalar.inspection import inspect
from screens.train import inspector
from screens.train.inspector import Microscope
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


async def look(seat: Seat) -> None:
    await seat.press("m")
    await seat.until(lambda: seat.screen.query_one("#places", OptionList).option_count)
    await seat.pilot.pause()


async def choose(seat: Seat, words: str) -> HeatMap:
    places = seat.screen.query_one("#places", OptionList)
    prompts = [str(places.get_option_at_index(place).prompt) for place in range(places.option_count)]
    places.highlighted = next(place for place, prompt in enumerate(prompts) if words in prompt)
    await seat.pilot.pause()
    return seat.screen.query_one("#values", HeatMap)


def test_parameters_and_gradients_are_those_of_the_newest_checkpoint(run: Run) -> None:
    found = inspected(run)

    async def scenario(seat: Seat) -> None:
        await look(seat)
        assert f"loss {found['loss']:.4f} nats a token" in seat.told("#microscope-says")
        gradients = seat.screen.query_one("#gradients", HeatMap)
        for entry in found["parameters"]:  # type: ignore[attr-defined]
            values = await choose(seat, entry["name"])
            assert values.border_title == entry["name"] and gradients.border_title == f"gradient of {entry['name']}"
            assert values._rows == json.loads(json.dumps(entry["values"])) and gradients._rows == entry["gradients"]
            assert gradients.display

    play(run.path.parents[1], scenario, run=run)


def test_a_sample_of_several_documents_is_looked_at_by_its_longest(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5, data="names")
    watch = WatchedRun(run)
    watch.poll()
    append(run, {**watch.history.samples[-1], "text": "a\nab\n"})  # names have no line break

    async def scenario(seat: Seat) -> None:
        await look(seat)
        assert seat.told("#microscope-says").endswith("'ab'")

    play(tmp_path / "results", scenario, run=run)


def test_a_run_that_never_spoke_is_looked_at_on_its_vocabulary(tmp_path: Path) -> None:
    async def scenario(seat: Seat) -> None:
        await look(seat)
        assert seat.told("#microscope-says").endswith("abcdefghi'")

    run = finished_run(tmp_path, steps=5, sample_tokens=0)
    play(tmp_path / "results", scenario, run=run)


def test_a_look_is_seen_through_while_newer_checkpoints_arrive(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5)

    async def scenario(seat: Seat) -> None:
        scope = seat.screen.query_one(Microscope)
        inspect_in_process, asked, done = scope._inspected, [], asyncio.Semaphore(0)

        async def slow(sight: inspector.Sight, node: str) -> dict[str, Any]:
            asked.append(sight)
            await done.acquire()
            return await inspect_in_process(sight, node)

        scope._inspected = slow  # type: ignore[method-assign]
        await seat.press("m")
        await seat.until(lambda: asked)
        shutil.copytree(get_checkpoint_path(run.checkpoints_dir, 5), get_checkpoint_path(run.checkpoints_dir, 6))
        assert seat.live.watch_of_run
        scope.look_at(seat.live.watch_of_run)
        for _ in (5, 6):
            done.release()
            await seat.until(lambda: len(asked) == 2)
            await seat.until(lambda: seat.screen.query_one("#places", OptionList).option_count)
        await seat.until(lambda: scope._shown == asked[1])
        assert [sight.checkpoint[-1] for sight in asked] == ["5", "6"]

    play(tmp_path / "results", scenario, run=run)


def test_a_run_is_seen_again_after_one_of_which_nothing_can_be_seen(run: Run) -> None:
    results = run.path.parents[1]
    other = add_run(results, "killed", "without-checkpoint")

    async def scenario(seat: Seat) -> None:
        assert isinstance(seat.screen, TrainScreen)
        await look(seat)
        seen = seat.told("#microscope-says")
        await seat.screen.show_run(other)
        await seat.sees("there is no checkpoint to look at yet")
        assert not seat.screen.query_one("#slide").display
        await seat.screen.show_run(run)
        await seat.until(lambda: seat.told("#microscope-says") == seen)
        assert seat.screen.query_one("#slide").display

    play(results, scenario, run=run)
    shutil.rmtree(other.path)


def test_the_embedding_s_rows_are_labelled_with_tokens(run: Run) -> None:
    found = inspected(run)

    async def scenario(seat: Seat) -> None:
        await look(seat)
        first = found["parameters"][0]  # type: ignore[index]
        values = await choose(seat, first["name"])
        assert values._labels == [repr(token)[1:-1] for token in found["vocabulary"]]  # type: ignore[attr-defined]

    play(run.path.parents[1], scenario, run=run)


def test_attention_is_shown_head_by_head_without_a_gradient(run: Run) -> None:
    found = inspected(run)

    async def scenario(seat: Seat) -> None:
        await look(seat)
        for place, head in enumerate(found["attention"]):  # type: ignore[arg-type,var-annotated]
            values = await choose(seat, f"layer {head['layer']}, head {head['head']}: attention")
            assert values._rows == head["weights"], place
            assert "who looks (rows) at whom" in str(values.border_title)
            assert not seat.screen.query_one("#gradients").display
        for row in values._rows:
            assert sum(row) == pytest.approx(1)

    play(run.path.parents[1], scenario, run=run)


def test_the_graph_around_the_number_at_the_cursor_is_told(run: Run) -> None:
    found = inspected(run)

    async def scenario(seat: Seat) -> None:
        await look(seat)
        entry = found["nodes"][0]  # type: ignore[index]
        values = await choose(seat, entry["name"])
        assert "arrows choose one" in seat.told("#graph-text")
        values.focus()
        await seat.press("down", "right")
        value = entry["values"][1][1]
        assert values.border_subtitle == f"[1,1] = {value:.4g}"
        await seat.until(lambda: seat.told("#graph-text").startswith(f"{entry['name']}[1,1] = {value:.4g}  gradient"))
        assert " × " in seat.told("#graph-text")

    play(run.path.parents[1], scenario, (200, 60), run=run)


def test_a_tensor_run_says_why_it_cannot_be_looked_into(tmp_path: Path) -> None:
    run = add_run(tmp_path, "finished", mode="tensor")

    async def scenario(seat: Seat) -> None:
        await seat.press("m")
        await seat.sees("only runs of the scalar engine")

    play(tmp_path, scenario, run=run)


def test_a_run_without_a_checkpoint_says_how_to_get_one(tmp_path: Path) -> None:
    run = add_run(tmp_path, "killed")

    async def scenario(seat: Seat) -> None:
        await seat.press("m")
        await seat.sees("there is no checkpoint to look at yet; C asks for one")

    play(tmp_path, scenario, run=run)


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    run = finished_run(tmp_path, steps=5)
    for weights in run.checkpoints_dir.rglob("*.safetensors"):
        weights.write_bytes(b"garbage")

    async def scenario(seat: Seat) -> None:
        await seat.press("m")
        await seat.until(lambda: seat.told("#microscope-says") not in ("", "looking ..."))
        assert "damaged" in seat.told("#microscope-says")

    play(tmp_path / "results", scenario, run=list_runs(tmp_path / "results")[0])


def test_a_question_that_nobody_waits_for_leaves_no_process(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_inspection.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(inspector, "_MODULE", "slow_inspection")

    def inspections() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if "slow_inspection" in child.cmdline()]

    async def scenario(seat: Seat) -> None:
        await seat.press("m")
        await seat.until(inspections)
        seat.app.workers.cancel_all()
        await seat.until(lambda: not inspections())

    play(run.path.parents[1], scenario, run=run)


def test_an_option_of_an_inspection_that_was_replaced_meanwhile_is_ignored(run: Run) -> None:
    async def scenario(seat: Seat) -> None:
        await look(seat)
        places = seat.screen.query_one("#places", OptionList)
        watching = seat.screen.query_one(Microscope)
        late = [OptionList.OptionHighlighted(places, places.get_option_at_index(at), at) for at in (0, -1)]
        watching._found = {**watching._found, "parameters": [], "nodes": [], "attention": []}
        for message in late:
            watching.on_option_list_option_highlighted(message)

    play(run.path.parents[1], scenario, run=run)
