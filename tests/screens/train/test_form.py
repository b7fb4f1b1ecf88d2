"""The form of a new run: rows for the declared settings, problems and plan while typing, and starting a run."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import pretend_gpus, write_text
from fake_nvml import FakeGpu
from seats import Seat, add_run, seated
from textual._compositor import Compositor
from textual.widgets import Collapsible, Input, Select, Static

from engines.cost.plan import Estimate, estimate
from engines.runs import liveness
from engines.runs.lookup import list_runs
from engines.settings.fields import fields
from engines.settings.train import TrainSettings
from screens.shared.formatting import format_label
from screens.shared.settings_form import COMMON_SETTINGS, SettingRow, SettingsForm
from screens.train.plan import PlanView


def rows(seat: Seat) -> dict[str, SettingRow]:
    return {row.field.name: row for row in seat.screen.query(SettingRow)}


def entry(seat: Seat, name: str) -> Input:
    return rows(seat)[name].query_one(Input)


def plan(seat: Seat) -> str:
    return str(seat.screen.query_one(PlanView).content)


@contextlib.contextmanager
def count_calls(owner: type, name: str) -> Iterator[list[str]]:
    """Yield a list that receives an entry per call of a method."""
    calls: list[str] = []
    method = getattr(owner, name)

    def counting(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        return method(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, counting)
        yield calls


async def write(seat: Seat, name: str, text: str) -> None:
    entry(seat, name).focus()
    await seat.press("end", *["backspace"] * len(entry(seat, name).value), *text)


async def expand(seat: Seat, group: str) -> None:
    collapsible = next(part for part in seat.screen.query(Collapsible) if part.title == group)
    collapsible.collapsed = False
    await seat.until(lambda: collapsible.query(SettingRow))
    await seat.pilot.pause()


async def test_common_settings_come_first_and_groups_are_built_when_expanded(tmp_path: Path) -> None:
    hidden = [field for field in fields(TrainSettings).values() if field.name not in COMMON_SETTINGS]
    groups = {format_label(field.group) for field in hidden}
    async with seated(tmp_path) as seat:
        assert tuple(rows(seat)) == COMMON_SETTINGS
        assert {part.title for part in seat.screen.query(Collapsible)} == groups
        for group in groups:
            await expand(seat, group)
            members = {name for name, field in fields(TrainSettings).items() if format_label(field.group) == group}
            assert members <= rows(seat).keys()
        assert rows(seat).keys() == fields(TrainSettings).keys()
        for name, row in rows(seat).items():
            assert row.tooltip == fields(TrainSettings)[name].help


async def test_an_invalid_value_is_reported_in_its_row_and_in_the_plan_while_it_is_typed(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        await write(seat, "steps", "x")
        await seat.sees("must be a whole number or auto, not 'x'")
        await seat.until(lambda: "--steps must be a whole number" in plan(seat))
        await write(seat, "steps", "-3")
        await seat.sees("must be at least 0, not -3")
        await write(seat, "steps", "30")
        await seat.until(lambda: not rows(seat)["steps"].problem)
        await seat.until(lambda: "✕" not in plan(seat) and "must be" not in seat.seen())


async def test_the_plan_follows_what_is_typed(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        await seat.until(lambda: "scalar bigram" in plan(seat) and "500 steps of 512" in plan(seat))
        await write(seat, "steps", "7")
        await seat.until(lambda: "in 7 steps" in plan(seat))
        await write(seat, "batch_size", "2")
        await seat.until(lambda: "in 7 steps of 16" in plan(seat))
        rows(seat)["model_kind"].query_one(Select).value = "mini-gpt"
        await seat.until(lambda: "scalar mini-gpt" in plan(seat))


async def test_the_plan_is_computed_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def estimated(*arguments: Any) -> Estimate:
        threads.append(threading.current_thread())
        return estimate(*arguments)

    monkeypatch.setattr("screens.train.plan.estimate", estimated)
    async with seated(tmp_path) as seat:
        await write(seat, "steps", "7")
        await seat.until(lambda: "in 7 steps" in plan(seat))
        assert threads and threading.current_thread() not in threads


async def test_tab_paints_only_what_has_changed(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        await seat.press("tab")
        with count_calls(Compositor, "render_full_update") as painted:
            for _ in range(4):
                await seat.press("tab")
        assert not painted


async def test_a_setting_without_effect_is_hidden_unless_it_was_set(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:

        def shown() -> set[str]:
            return {name for name, row in rows(seat).items() if row.display}

        groups = {part.title: part for part in seat.screen.query(Collapsible)}
        assert "depth" not in shown() and not groups["GPT"].display and not groups["Muon"].display
        await expand(seat, "Optimization")
        assert {"beta1", "weight_decay"} <= shown() and "head_lr" not in shown()
        entry(seat, "beta1").value = "0.8"
        rows(seat)["optimizer"].query_one(Select).value = "sgd"
        await seat.until(lambda: "weight_decay" not in shown())
        assert "beta1" in shown() and "beta2" not in shown()
        await seat.until(lambda: "--beta1 0.8 has no effect: it needs --optimizer adamw" in plan(seat))
        rows(seat)["optimizer"].query_one(Select).clear()
        rows(seat)["model_kind"].query_one(Select).value = "gpt"
        await seat.until(lambda: groups["GPT"].display and {"depth", "head_lr"} <= shown())


async def test_the_plan_counts_the_characters_of_the_users_text(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    size = len(set(text.read_text())) + 1
    async with seated(tmp_path) as seat:
        entry(seat, "data").value = str(text)
        await seat.until(lambda: f"{2 * size * size:,} parameters" in plan(seat) and "assumed" not in plan(seat))


async def test_a_text_that_does_not_exist_is_an_error_at_its_field(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        entry(seat, "data").value = str(tmp_path / "none.txt")
        await seat.until(lambda: "none.txt does not exist" in plan(seat))
        note = str(rows(seat)["data"].query_one(".problem", Static).content)
        assert "none.txt does not exist" in note and not rows(seat)["seed"].query_one(".problem").display
        await seat.press("f5")
        await seat.hears("none.txt does not exist")
        entry(seat, "data").value = ""
        await seat.until(lambda: "27" in plan(seat) and not rows(seat)["data"].query_one(".problem").display)


async def test_the_plan_is_for_the_gpu_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, FakeGpu("NVIDIA H200"))
    async with seated(tmp_path) as seat:
        rows(seat)["model_kind"].query_one(Select).value = "gpt"
        await seat.until(lambda: "% of 989 TFLOP/s" in plan(seat))


async def test_contradicting_settings_are_reported_before_a_run_is_created(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        rows(seat)["model_kind"].query_one(Select).value = "mini-gpt"
        await expand(seat, "Model")
        await write(seat, "width", "10")
        await write(seat, "heads", "3")
        await seat.until(lambda: "✕" in plan(seat))
        await seat.press("f5")
        await seat.until(lambda: seat.app.said)
        assert not list_runs(tmp_path)


@pytest.mark.parametrize("key", ["f5", "ctrl+s"])
async def test_the_run_is_given_exactly_what_was_typed(key: str, tmp_path: Path) -> None:
    text = write_text(tmp_path)
    typed = {"data": str(text), "steps": "4", "batch_size": "2", "seed": "7"}
    async with seated(tmp_path) as seat:
        for name, value in typed.items():
            entry(seat, name).value = value
        await expand(seat, "Evaluation")
        entry(seat, "sample_tokens").value = "3"
        await seat.pilot.pause()
        await seat.press(key)
        await seat.until(lambda: list_runs(tmp_path))
        run = list_runs(tmp_path)[0]
        assert run.config["given"] == {**typed, "sample_tokens": "3"}
        assert run.config["resolved"]["steps"] == 4 and run.config["resolved"]["seed"] == 7
        await seat.sees(run.id, "FINISHED", "4 / 4")
        await seat.until(lambda: not liveness.is_lock_held(run.lock_path))


async def test_a_run_that_cannot_start_is_reported_and_leaves_no_directory(tmp_path: Path) -> None:
    async with seated(tmp_path) as seat:
        await write(seat, "steps", "x")
        await seat.press("f5")
        await seat.hears("--steps must be a whole number")
        await write(seat, "steps", "5")
        entry(seat, "data").value = str(tmp_path / "not-there.txt")
        await seat.pilot.pause()
        await seat.press("f5")
        await seat.hears("does not exist")
        assert not list_runs(tmp_path)


async def test_a_restart_fills_the_form_with_the_settings_of_the_run(tmp_path: Path) -> None:
    run = add_run(tmp_path, "spikes-warned")
    async with seated(tmp_path, run=run) as seat:
        await seat.press("R")
        await seat.until(lambda: seat.screen.query(SettingsForm))
        await seat.until(lambda: "guard_spike_sigmas" in rows(seat))
        given = {name: str(value) for name, value in run.config["given"].items()}
        assert seat.screen.query_one(SettingsForm).given == given
        assert entry(seat, "steps").value == "300" and entry(seat, "guard_spike_sigmas").value == "0.1"
        await seat.press("escape")
        await seat.sees("FINISHED")


async def test_a_restart_with_a_change_starts_another_run(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    run = add_run(tmp_path, "finished", data=str(text))
    async with seated(tmp_path, run=run) as seat:
        await seat.press("R")
        await seat.until(lambda: seat.screen.query(SettingsForm) and "eval_every" in rows(seat))
        entry(seat, "steps").value = "3"
        await seat.pilot.pause()
        await seat.press("f5")
        await seat.until(lambda: len(list_runs(tmp_path)) == 2)
        new = next(one for one in list_runs(tmp_path) if one != run)
        given = {name: str(value) for name, value in run.config["given"].items()}
        assert new.config["given"] == {**given, "steps": "3"}
        await seat.sees(new.id, "FINISHED")
