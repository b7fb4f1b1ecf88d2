"""The form of a new run: rows for the declared settings, problems and plan while typing, and starting a run."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app_pilot import AppPilot, add_run, open_dashboard
from builders import pretend_gpus, write_text
from fake_nvml import FakeGpu
from textual.widgets import Collapsible, Input, Select, Static
from textual_internals import Compositor

from engines.cost.plan import Estimate, estimate
from engines.runs import liveness
from engines.runs.lookup import list_runs
from engines.settings.fields import fields
from engines.settings.presets import PRESETS
from engines.settings.train import TrainSettings
from screens.shared.formatting import format_label
from screens.shared.settings_form import COMMON_SETTINGS, SettingRow, SettingsForm, format_as_typed
from screens.train.plan import PlanView


def rows(pilot: AppPilot) -> dict[str, SettingRow]:
    return {row.field.name: row for row in pilot.screen.query(SettingRow) if row.field.name in fields(TrainSettings)}


def entry(pilot: AppPilot, name: str) -> Input:
    return rows(pilot)[name].query_one(Input)


def plan(pilot: AppPilot) -> str:
    return str(pilot.screen.query_one(PlanView).content)


@contextlib.contextmanager
def count_calls(owner: type, name: str) -> Iterator[list[str]]:
    """Yield a list that receives an entry per call of a method."""
    calls: list[str] = []
    method = getattr(owner, name)

    def count_and_call(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        return method(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, count_and_call)
        yield calls


async def write(pilot: AppPilot, name: str, text: str) -> None:
    entry(pilot, name).focus()
    await pilot.press("end", *["backspace"] * len(entry(pilot, name).value), *text)


async def expand(pilot: AppPilot, group: str) -> None:
    collapsible = next(part for part in pilot.screen.query(Collapsible) if part.title == group)
    collapsible.collapsed = False
    await pilot.wait_until(lambda: collapsible.query(SettingRow))
    await pilot.pause()


async def test_common_settings_come_first_and_groups_are_built_when_expanded(tmp_path: Path) -> None:
    hidden = [field for field in fields(TrainSettings).values() if field.name not in COMMON_SETTINGS]
    groups = {format_label(field.group) for field in hidden}
    async with open_dashboard(tmp_path) as pilot:
        assert tuple(rows(pilot)) == COMMON_SETTINGS
        assert {part.title for part in pilot.screen.query(Collapsible)} == groups
        for group in groups:
            await expand(pilot, group)
            members = {name for name, field in fields(TrainSettings).items() if format_label(field.group) == group}
            assert members <= rows(pilot).keys()
        assert rows(pilot).keys() == fields(TrainSettings).keys()
        for name, row in rows(pilot).items():
            assert row.tooltip == fields(TrainSettings)[name].help


async def test_an_invalid_value_is_reported_in_its_row_and_in_the_plan_while_it_is_typed(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        await write(pilot, "steps", "x")
        await pilot.wait_for_text("must be a whole number or auto, not 'x'")
        await pilot.wait_until(lambda: "--steps must be a whole number" in plan(pilot))
        await write(pilot, "steps", "-3")
        await pilot.wait_for_text("must be at least 0, not -3")
        await write(pilot, "steps", "30")
        await pilot.wait_until(lambda: not rows(pilot)["steps"].problem)
        await pilot.wait_until(lambda: "✕" not in plan(pilot) and "must be" not in pilot.screen_text())


async def test_the_plan_follows_what_is_typed(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        await pilot.wait_until(lambda: "scalar bigram" in plan(pilot) and "500 steps of 512" in plan(pilot))
        await write(pilot, "steps", "7")
        await pilot.wait_until(lambda: "in 7 steps" in plan(pilot))
        await write(pilot, "batch_size", "2")
        await pilot.wait_until(lambda: "in 7 steps of 16" in plan(pilot))
        rows(pilot)["model_kind"].query_one(Select).value = "mini-gpt"
        await pilot.wait_until(lambda: "scalar mini-gpt" in plan(pilot))


async def test_the_plan_is_computed_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def record_thread(*arguments: Any) -> Estimate:
        threads.append(threading.current_thread())
        return estimate(*arguments)

    monkeypatch.setattr("screens.train.plan.estimate", record_thread)
    async with open_dashboard(tmp_path) as pilot:
        await write(pilot, "steps", "7")
        await pilot.wait_until(lambda: "in 7 steps" in plan(pilot))
        assert threads and threading.current_thread() not in threads


async def test_tab_paints_only_what_has_changed(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        await pilot.press("tab")
        with count_calls(Compositor, "render_full_update") as painted:
            for _ in range(4):
                await pilot.press("tab")
        assert not painted


async def test_a_setting_without_effect_is_hidden_unless_it_was_set(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:

        def shown_settings() -> set[str]:
            return {name for name, row in rows(pilot).items() if row.display}

        groups = {part.title: part for part in pilot.screen.query(Collapsible)}
        assert "depth" not in shown_settings() and not groups["GPT"].display and not groups["Muon"].display
        await expand(pilot, "Optimization")
        assert {"beta1", "weight_decay"} <= shown_settings() and "head_lr" not in shown_settings()
        entry(pilot, "beta1").value = "0.8"
        rows(pilot)["optimizer"].query_one(Select).value = "sgd"
        await pilot.wait_until(lambda: "weight_decay" not in shown_settings())
        assert "beta1" in shown_settings() and "beta2" not in shown_settings()
        await pilot.wait_until(lambda: "--beta1 0.8 has no effect: it needs --optimizer adamw" in plan(pilot))
        rows(pilot)["optimizer"].query_one(Select).clear()
        rows(pilot)["model_kind"].query_one(Select).value = "gpt"
        await pilot.wait_until(lambda: groups["GPT"].display and {"depth", "head_lr"} <= shown_settings())


async def test_the_plan_counts_the_characters_of_the_users_text(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    size = len(set(text.read_text())) + 1
    async with open_dashboard(tmp_path) as pilot:
        entry(pilot, "data").value = str(text)
        await pilot.wait_until(
            lambda: f"{2 * size * size:,} parameters" in plan(pilot) and "assumed" not in plan(pilot)
        )


async def test_a_text_that_does_not_exist_is_an_error_at_its_field(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        entry(pilot, "data").value = str(tmp_path / "none.txt")
        await pilot.wait_until(lambda: "none.txt does not exist" in plan(pilot))
        note = str(rows(pilot)["data"].query_one(".problem", Static).content)
        assert "none.txt does not exist" in note and not rows(pilot)["seed"].query_one(".problem").display
        await pilot.press("f5")
        await pilot.wait_for_toast("none.txt does not exist")
        entry(pilot, "data").value = ""
        await pilot.wait_until(lambda: "27" in plan(pilot) and not rows(pilot)["data"].query_one(".problem").display)


async def test_the_plan_is_for_the_gpu_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, FakeGpu("NVIDIA H200"))
    async with open_dashboard(tmp_path) as pilot:
        rows(pilot)["model_kind"].query_one(Select).value = "gpt"
        await pilot.wait_until(lambda: "% of 989 TFLOP/s" in plan(pilot))


async def test_contradicting_settings_are_reported_before_a_run_is_created(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        rows(pilot)["model_kind"].query_one(Select).value = "mini-gpt"
        await expand(pilot, "Model")
        await write(pilot, "width", "10")
        await write(pilot, "heads", "3")
        await pilot.wait_until(lambda: "✕" in plan(pilot))
        await pilot.press("f5")
        await pilot.wait_until(lambda: pilot.app.toasts)
        assert not list_runs(tmp_path)


@pytest.mark.parametrize("key", ["f5", "ctrl+s"])
async def test_the_run_is_given_exactly_what_was_typed(key: str, tmp_path: Path) -> None:
    text = write_text(tmp_path)
    typed = {"data": str(text), "steps": "4", "batch_size": "2", "seed": "7"}
    async with open_dashboard(tmp_path) as pilot:
        for name, value in typed.items():
            entry(pilot, name).value = value
        await expand(pilot, "Evaluation")
        entry(pilot, "sample_tokens").value = "3"
        await pilot.pause()
        await pilot.press(key)
        await pilot.wait_until(lambda: list_runs(tmp_path))
        run = list_runs(tmp_path)[0]
        assert run.config["given"] == {**typed, "sample_tokens": "3"}
        assert run.config["resolved"]["steps"] == 4 and run.config["resolved"]["seed"] == 7
        await pilot.wait_for_text(run.id, "FINISHED", "4 / 4")
        await pilot.wait_until(lambda: not liveness.is_lock_held(run.lock_path))


async def test_a_run_that_cannot_start_is_reported_and_leaves_no_directory(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        await write(pilot, "steps", "x")
        await pilot.press("f5")
        await pilot.wait_for_toast("--steps must be a whole number")
        await write(pilot, "steps", "5")
        entry(pilot, "data").value = str(tmp_path / "not-there.txt")
        await pilot.pause()
        await pilot.press("f5")
        await pilot.wait_for_toast("does not exist")
        assert not list_runs(tmp_path)


async def test_a_restart_fills_the_form_with_the_settings_of_the_run(tmp_path: Path) -> None:
    run = add_run(tmp_path, "spikes-warned")
    async with open_dashboard(tmp_path, run=run) as pilot:
        await pilot.press("R")
        await pilot.wait_until(lambda: pilot.screen.query(SettingsForm))
        await pilot.wait_until(lambda: "guard_spike_sigmas" in rows(pilot))
        given = {name: str(value) for name, value in run.config["given"].items()}
        assert pilot.screen.query_one(SettingsForm).given == given
        assert entry(pilot, "steps").value == "300" and entry(pilot, "guard_spike_sigmas").value == "0.1"
        await pilot.press("escape")
        await pilot.wait_for_text("FINISHED")


async def test_a_restart_with_a_change_starts_another_run(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    run = add_run(tmp_path, "finished", data=str(text))
    async with open_dashboard(tmp_path, run=run) as pilot:
        await pilot.press("R")
        await pilot.wait_until(lambda: pilot.screen.query(SettingsForm) and "eval_every" in rows(pilot))
        entry(pilot, "steps").value = "3"
        await pilot.pause()
        await pilot.press("f5")
        await pilot.wait_until(lambda: len(list_runs(tmp_path)) == 2)
        new = next(one for one in list_runs(tmp_path) if one != run)
        given = {name: str(value) for name, value in run.config["given"].items()}
        assert new.config["given"] == {**given, "steps": "3"}
        await pilot.wait_for_text(new.id, "FINISHED")


async def choose_preset(pilot: AppPilot, name: object) -> None:
    form = pilot.screen.query_one(SettingsForm)
    before = form.given
    form.query(SettingRow).first().query_one(Select).value = name
    await pilot.wait_until(lambda: form.given != before and rows(pilot))
    await pilot.pause()


async def test_a_preset_fills_the_form_and_edited_values_stay(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        await write(pilot, "seed", "7")
        await choose_preset(pilot, "laptop")
        filled = {name: format_as_typed(value) for name, value in PRESETS["laptop"].settings.items()}
        assert pilot.screen.query_one(SettingsForm).given == {**filled, "seed": "7"}
        assert entry(pilot, "vocab_size").value == filled["vocab_size"], "the groups of its settings are expanded"
        await write(pilot, "steps", "12")
        await choose_preset(pilot, "inspect")
        filled = {name: format_as_typed(value) for name, value in PRESETS["inspect"].settings.items()}
        assert pilot.screen.query_one(SettingsForm).given == {**filled, "seed": "7"}
        await write(pilot, "steps", "12")
        await choose_preset(pilot, Select.NULL)
        assert pilot.screen.query_one(SettingsForm).given == {"steps": "12", "seed": "7"}


async def test_a_run_from_the_form_records_which_settings_come_from_the_preset(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path) as pilot:
        await choose_preset(pilot, "names")
        await write(pilot, "steps", "3")
        await pilot.press("f5")
        await pilot.wait_until(lambda: list_runs(tmp_path))
        await pilot.wait_for_text("FINISHED")
    (run,) = list_runs(tmp_path)
    assert run.config["preset"] == {"name": "names", "settings": ["mode", "model_kind", "data"]}
    assert run.config["resolved"]["steps"] == 3


async def test_the_plan_reports_a_gpt_that_takes_hours_and_suggests_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch)
    async with open_dashboard(tmp_path) as pilot:
        rows(pilot)["model_kind"].query_one(Select).value = "gpt"
        await pilot.wait_until(lambda: "use --preset laptop" in plan(pilot))
        await choose_preset(pilot, "laptop")
        await pilot.wait_until(lambda: "--preset laptop" not in plan(pilot) and "gpt" in plan(pilot))
