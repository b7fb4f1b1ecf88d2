"""The curves of a run: losses, evaluations, guards, and steps dropped by a resume."""

import contextlib
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult

from engines.events import Event, decode, encode
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.chart import Chart
from screens.shared.curves import SLICE, RunCurves, build_run_chart

FIXTURES = Path(__file__).parents[2] / "fixtures" / "runs"
RECORDED = sorted(path.name for path in FIXTURES.iterdir())


class CurvesApp(App[None]):
    """An app with nothing but the chart of a run."""

    def compose(self) -> ComposeResult:
        yield build_run_chart(ascii=False, id="chart")


@contextlib.asynccontextmanager
async def open_chart() -> AsyncIterator[Chart]:
    app = CurvesApp()
    async with app.run_test(size=(100, 30)):
        yield app.query_one(Chart)


def watch_of(name: str) -> WatchedRun:
    return WatchedRun(Run(FIXTURES / name))


def events_of(name: str) -> list[Event]:
    lines = (FIXTURES / name / "events.jsonl").read_bytes().splitlines()
    return [event for line in lines if (event := decode(line)) is not None]


def steps_event(first: int, losses: list[float], tokens: int | None = None) -> Event:
    ones = [1.0] * len(losses)
    return {
        "v": 1, "t": 1.0, "kind": "steps", "first_step": first, "losses": losses, "lr": ones, "seconds": ones,
        "grad_norms": ones, "tokens": 8 * (first + len(losses) - 1) if tokens is None else tokens,
    }  # fmt: skip


class WrittenRun:
    """A run whose events are written by a test."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.run = Run(folder / "merry-fox")
        self.run.path.mkdir()
        resolved = {"mode": "fast", "model_kind": "bigram", "data": "corpus.txt", "steps": 3}
        config = {"v": 1, "run": "merry-fox", "created_at": 0, "checkpoints": "", "given": {}, "resolved": resolved}
        if facts:
            config["facts"] = {"parameters": 7, "train_tokens": 100, "val_tokens": 10, **facts}
        self.run.config_path.write_text(json.dumps(config))
        self.run.events_path.touch()
        self.watch = WatchedRun(self.run)

    def append(self, *events: Event) -> WatchedRun:
        """Append events to the log and return the watch after it has read them."""
        with self.run.events_path.open("ab") as log:
            log.writelines(map(encode, events))
        return poll(self.watch)


def poll(watch: WatchedRun) -> WatchedRun:
    watch.poll()
    return watch


def eval_event(step: int, loss: float | None, floor_bpb: float | None = None) -> Event:
    return {
        "v": 1, "t": 1.0, "kind": "eval", "step": step, "loss": loss, "bpb": loss, "tokens": 100, "bytes": 200,
        "seconds": 0.1, "best": True, "floor_bpb": floor_bpb, "floor_error": None,
    }  # fmt: skip


def resumed_event(step: int) -> Event:
    return {"v": 1, "t": 2.0, "kind": "resumed", "from_step": step, "reason": "resume"}


def shown_losses(chart: Chart, name: str = "") -> list[float]:
    return chart.data.lines[f"{name}/loss"].pyramid.values.tolist()


def are_equal(some: list[float], others: list[float]) -> bool:
    return [str(value) for value in some] == [str(value) for value in others]  # NaN is not equal to itself


async def test_a_long_history_is_added_in_slices_so_that_keys_are_handled_in_between(tmp_path: Path) -> None:
    losses = [2.0] * (2 * SLICE + 10)
    async with open_chart() as chart:
        watch = WrittenRun(tmp_path).append(steps_event(1, losses))
        curves = RunCurves(chart, ascii=False)
        added = []
        while not curves.update(watch):
            added.append(curves.drawn_steps)
        assert added == [SLICE, 2 * SLICE] and curves.drawn_steps == len(losses)
        assert shown_losses(chart) == losses


@pytest.mark.parametrize("name", RECORDED)
async def test_every_recorded_run_is_shown_as_recorded(name: str) -> None:
    async with open_chart() as chart:
        watch = watch_of(name)
        RunCurves(chart, ascii=False).update(poll(watch))
        assert are_equal(shown_losses(chart), watch.history.losses.tolist())
        assert chart.data.dots["/validation"].steps.tolist() == [event["step"] for event in watch.history.evals]
        assert str(chart.border_title).startswith(name)
        assert ("No losses yet" in chart.text) is (not watch.history.step and not watch.history.evals)


@pytest.mark.parametrize("name", ["resumed", "rolled-back", "nonfinite-warned", "spikes-warned"])
async def test_a_run_read_event_by_event_is_shown_as_if_read_at_once(name: str, tmp_path: Path) -> None:
    async with open_chart() as chart:
        written = WrittenRun(tmp_path, vocab_size=29)
        curves = RunCurves(chart, ascii=False)
        for event in events_of(name):
            curves.update(written.append(event))
            assert are_equal(shown_losses(chart), written.watch.history.losses.tolist())
        piecemeal = chart.text
        RunCurves(chart, ascii=False).update(written.watch)
        assert chart.text == piecemeal


async def test_nonfinite_losses_and_guards_are_marked_in_the_lane() -> None:
    async with open_chart() as chart:
        for name, lane in (("nonfinite-warned", "NaN"), ("halted-nonfinite", "✕"), ("spikes-warned", "▲spike")):
            watch = watch_of(name)
            RunCurves(chart, ascii=False).update(poll(watch))
            assert lane in chart.text.split("\n")[-1]


async def test_a_resumed_run_drops_the_steps_after_its_checkpoint(tmp_path: Path) -> None:
    async with open_chart() as chart:
        written = WrittenRun(tmp_path)
        curves = RunCurves(chart, ascii=False)
        curves.update(written.append(steps_event(1, [3.0, 2.9, 2.8, 2.7]), eval_event(2, 2.9), eval_event(4, 2.7)))
        curves.update(written.append(resumed_event(2)))
        assert shown_losses(chart) == [3.0, 2.9]
        assert chart.data.dots["/validation"].steps.tolist() == [2]
        curves.update(written.append(steps_event(3, [2.5]), resumed_event(1), steps_event(2, [2.4, 2.3])))
        assert shown_losses(chart) == [3.0, 2.4, 2.3]
        assert chart.data.dots["/validation"].steps.tolist() == []
        assert [chart.data.groups[""].x_of("time", step) for step in range(4)] == [0.0, 1.0, 2.0, 3.0]
        assert [chart.data.groups[""].x_of("tokens", step) for step in range(4)] == [0.0, 8.0, 16.0, 24.0]


async def test_guessing_and_the_entropy_bound_are_levels(tmp_path: Path) -> None:
    async with open_chart() as chart:
        written = WrittenRun(tmp_path, vocab_size=54)
        curves = RunCurves(chart, ascii=False)
        curves.update(written.append())
        assert "ln 54 3.9890" in chart.text or "┈┈" in chart.text
        curves.update(written.append(steps_event(1, [4.0]), eval_event(0, 4.0, floor_bpb=0.5)))
        assert chart.data.levels["guessing"].value == math.log(54)
        assert chart.data.levels["entropy bound"].value == pytest.approx(0.5 * math.log(2) * 2)


async def test_guessing_is_a_level_once_the_worker_has_read_the_data(tmp_path: Path) -> None:
    async with open_chart() as chart:
        written = WrittenRun(tmp_path)
        curves = RunCurves(chart, ascii=False)
        curves.update(written.append())
        assert chart.data.levels == {}
        facts = {"parameters": 7, "train_tokens": 100, "val_tokens": 10, "vocab_size": 54}
        written.run.write_config(written.run.config | {"facts": facts})
        curves.update(written.append())
        assert chart.data.levels["guessing"].value == math.log(54)


async def test_a_log_without_tokens_has_no_axis_of_tokens(tmp_path: Path) -> None:
    async with open_chart() as chart:
        written = WrittenRun(tmp_path)
        RunCurves(chart, ascii=False).update(written.append(steps_event(1, [3.0, 2.9], tokens=0)))
        assert chart.data.available_axes == ["step", "time"]


async def test_a_log_that_became_shorter_is_read_again(tmp_path: Path) -> None:
    async with open_chart() as chart:
        written = WrittenRun(tmp_path)
        curves = RunCurves(chart, ascii=False)
        curves.update(written.append(steps_event(1, [3.0, 2.9, 2.8])))
        written.run.events_path.write_bytes(b"")
        curves.update(written.append())
        curves.update(written.append(steps_event(1, [1.0])))
        assert shown_losses(chart) == [1.0]


async def test_a_nonfinite_evaluation_is_shown(tmp_path: Path) -> None:
    async with open_chart() as chart:
        written = WrittenRun(tmp_path)
        RunCurves(chart, ascii=False).update(written.append(steps_event(1, [3.0] * 20), eval_event(10, None)))
        assert "NaN" in chart.text


async def test_several_runs_on_one_chart_have_their_own_colours() -> None:
    async with open_chart() as chart:
        names = ("finished", "resumed", "spikes-warned")
        for number, name in enumerate(names, 1):
            watch = watch_of(name)
            watch.poll()  # another view has read it before
            RunCurves(chart, False, name=name, label=name, colour=f"series-{number}").update(watch)
            assert shown_losses(chart, name) == watch.history.losses.tolist()
        assert [line.colour for line in chart.data.lines.values()] == ["series-1", "series-2", "series-3"]
        assert all(name in chart.text for name in names)
