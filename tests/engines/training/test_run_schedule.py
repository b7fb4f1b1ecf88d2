"""Budgets shape the schedule: by steps and tokens to the last bit, by the clock through recorded progress."""

import random
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from builders import make_run
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lagging import LAGS, Rig, assert_agrees, rig, set_clock, skip_disk_syncs

from engines.errors import UserError
from engines.interfaces import StepHyperparameters
from engines.reproduce.replay import create_replay, derive_settings, read_recorded_run
from engines.runs.store import Run
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.training.ending import Ending
from engines.training.fork import fork_run
from engines.training.run_schedule import RunSchedule
from engines.training.schedules import (
    compute_at_progress,
    compute_at_step,
    get_lr_multiplier,
    get_momentum,
    get_weight_decay_multiplier,
)

GPT = {"model_kind": "gpt", "steps": 700}
BY_TIME = {"time_budget": 3.0, "optimizer": "sgd", "sample_tokens": 0, "keep_last": 0, "warmup_fraction": 0.1}
lagging = pytest.mark.parametrize("lag", LAGS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_disk_syncs(monkeypatch)


def plans(settings: TrainSettings, steps: int, **how: Any) -> list[StepHyperparameters]:
    schedule = RunSchedule(settings, **how)
    return [schedule.plan(step, step, 0.01 * step).hyperparameters for step in range(steps)]


# --- by steps and tokens --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "requested", [{}, {"steps": 37, "warmup_fraction": 0.3}, GPT, {**GPT, "lr_schedule": "cosine"}]
)
def test_without_a_time_budget_every_number_is_that_of_its_step_to_the_last_bit(requested: dict[str, Any]) -> None:
    settings = resolve(requested)
    schedule = settings.lr_schedule, settings.warmup_fraction, settings.warmdown_fraction, settings.final_lr_fraction
    for step, found in enumerate(plans(settings, settings.steps + 1)):
        lr = settings.lr * get_lr_multiplier(step, settings.steps, *schedule)
        expected = lr, get_momentum(step, settings.steps, settings), get_weight_decay_multiplier(step, settings.steps)
        assert tuple(found) == expected
    assert RunSchedule(settings).plan(3, 3, 1.0).progress is None


def test_a_token_budget_below_the_steps_shapes_the_schedule_as_so_many_steps() -> None:
    few = resolve({**GPT, "tokens": 100})
    for_tokens = resolve({**GPT, "tokens": 70 * few.tokens_per_step - 5})
    as_steps = resolve({**GPT, "steps": 70, "warmup_fraction": for_tokens.warmup_fraction})
    assert plans(for_tokens, 71) == plans(as_steps, 71)
    assert plans(resolve({"tokens": 100_000}), 50) == plans(resolve({"steps": -(-100_000 // 512)}), 50)


def test_a_target_and_a_stop_do_not_change_the_schedule() -> None:
    plain = plans(resolve({"steps": 100}), 100)
    assert plans(resolve({"steps": 100, "target_bpb": 1.0}), 100) == plain
    assert plans(resolve({"steps": 100}), 50, stop_at=50) == plain[:50]


def test_budgets_of_runs_of_an_earlier_version_only_end_them() -> None:
    plain = plans(resolve({"steps": 100}), 100)
    settings = resolve({"steps": 100, "tokens": 512 * 20, "time_budget": 0.5})
    assert plans(settings, 100, version=1) == plain
    assert plans(settings, 100) != plain


# --- by progress ----------------------------------------------------------------------------------


@hypothesis_settings(deadline=None, max_examples=200)
@given(
    tens=st.integers(1, 60),
    warmup=st.integers(0, 5),
    warmdown=st.integers(0, 5),
    schedule=st.sampled_from(["linear", "sqrt", "cosine", "constant"]),
    part=st.floats(0, 1),
)
def test_progress_by_steps_gives_the_schedule_by_steps(
    tens: int, warmup: int, warmdown: int, schedule: str, part: float
) -> None:
    settings = resolve(
        {**GPT, "steps": 10 * tens, "warmup_fraction": warmup / 10, "warmdown_fraction": warmdown / 10,
         "lr_schedule": schedule}
    )  # fmt: skip
    step = min(10 * tens - 1, int(part * 10 * tens))
    found = compute_at_progress(step / settings.steps, step, settings)
    assert found == pytest.approx(compute_at_step(step, settings, settings.steps), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    "requested", [{}, {"warmdown_fraction": 1.0}, {"warmdown_fraction": 0.0, "warmup_fraction": 1.0}]
)
@pytest.mark.parametrize("progress", [0.0, 1e-300, 0.5, 1.0])
def test_hyperparameters_stay_in_their_bounds_at_any_progress(requested: dict[str, Any], progress: float) -> None:
    settings = resolve({**GPT, **requested})
    found = compute_at_progress(progress, 0, settings)
    assert 0 < found.lr <= settings.lr and 0.85 <= found.momentum <= 0.97 and 0 <= found.weight_decay_multiplier <= 1


def test_progress_is_the_largest_share_of_any_budget_and_never_falls() -> None:
    settings = resolve({"steps": 100, "tokens": 512 * 50, "time_budget": 10.0})
    schedule = RunSchedule(settings)
    steps = [(0, 0.0), (10, 0.0), (11, 5.0), (5, 5.5), (90, 5.0), (60, 20.0)]
    found = [schedule.plan(step, n, seconds).progress for n, (step, seconds) in enumerate(steps)]
    assert found == [0.0, 0.2, 0.5, 0.55, 1.0, 1.0]


# --- runs under a time budget, on a clock of their own --------------------------------------------


def clock(monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> None:
    """Time passes as it is read, unevenly: some 10 ms in a step."""
    chance, now = random.Random(seed), [0.0]

    def monotonic() -> float:
        now[0] += chance.uniform(0.002, 0.01)
        return now[0]

    set_clock(monkeypatch, monotonic)


@pytest.fixture(autouse=True)
def uneven_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch)


@lagging
def test_a_time_budget_ends_within_two_steps_of_the_final_learning_rate(lag: int, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, steps="auto", eval_every="auto", **BY_TIME)
    assert found.train().detail == "the time budget is used up"
    assert_agrees(found)
    history, settings = found.history, found.training.settings
    assert 100 < history.step < 1000 and settings.steps == 1_000_000
    assert len(history.progress) == history.step and list(history.progress) == sorted(history.progress)
    falls = [before - after for before, after in zip(history.lr, history.lr[1:], strict=False)]
    assert 0 <= history.lr[-1] <= 2 * max(falls) and max(history.lr) == pytest.approx(settings.lr)
    assert history.lr[0] < 0.01 * settings.lr  # warmup follows progress too
    assert "progress" in (found.run.path / "events.jsonl").read_text()


@lagging
def test_intervals_that_are_auto_are_tenths_of_a_time_budget(lag: int, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, steps="auto", eval_every="auto", **BY_TIME)
    found.train()
    history = found.history
    evaluated = [event["step"] for event in history.evals]
    assert len(evaluated) == 11 and evaluated[-1] == history.step
    shares = [history.progress[step - 1] for step in evaluated[1:]]
    assert shares == pytest.approx([tenth / 10 for tenth in range(1, 11)], abs=0.08)


def test_a_time_budget_learns_as_much_as_as_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_time, by_steps = [], []
    for seed in range(5):
        clock(monkeypatch, seed)
        timed = rig(tmp_path / f"{seed}t", 0, seed=seed, steps="auto", eval_every=0, **{**BY_TIME, "time_budget": 2.0})
        timed.train()
        steps = timed.history.step
        counted = rig(
            tmp_path / f"{seed}s", 0, seed=seed, steps=steps, eval_every=0, **{**BY_TIME, "time_budget": None}
        )
        counted.train()
        by_time.append(timed.history.evals[-1]["loss"])
        by_steps.append(counted.history.evals[-1]["loss"])
    assert abs(mean(by_time) - mean(by_steps)) < 0.01, (by_time, by_steps)


# --- resuming and reproducing ---------------------------------------------------------------------


class Killed(BaseException):
    pass


def train_until(found: Rig, call: int) -> None:
    """Train until that call of the learner, and leave the run as a killed worker does."""
    step = found.learner.step

    def step_or_die(batch: Any, hyperparameters: StepHyperparameters) -> None:
        if found.learner.calls + 1 == call:
            raise Killed
        step(batch, hyperparameters)

    found.learner.step = step_or_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        found.train()
    found.training.callbacks.wait_for_checkpoint()
    found.log.sync()


def reproduced(run: Run, lag: int) -> Rig:
    past = read_recorded_run(run)
    again = Rig(create_replay(past, past.last, derive_settings(past, {}), run.path.parent.parent, None), lag)
    assert again.train().reason == "finished"
    return again


def assert_reproduces(again: Rig, run: Run) -> None:
    ours, theirs = again.history, read_recorded_run(run).history
    assert ours.losses == theirs.losses and ours.lr == theirs.lr and ours.grad_norms == theirs.grad_norms
    assert ours.progress == theirs.progress
    assert [event["bpb"] for event in ours.evals] == [event["bpb"] for event in theirs.evals]
    assert [event["step"] for event in ours.evals] == [event["step"] for event in theirs.evals]


def timed(folder: Path, lag: int, **given: Any) -> Rig:
    return rig(folder, lag, **{"steps": "auto", "eval_every": 50, "checkpoint_every": 40, **BY_TIME, **given})


@lagging
@pytest.mark.parametrize("intervals", [{}, {"eval_every": "auto", "checkpoint_every": "auto"}], ids=["steps", "tenths"])
def test_a_killed_run_repeats_its_logged_steps_and_its_reproduction_repeats_all_of_them(
    lag: int, intervals: dict[str, Any], tmp_path: Path
) -> None:
    killed = timed(tmp_path, lag, **intervals)
    train_until(killed, 131)
    before = killed.history
    assert before.step > 110
    for call in (90, 10_000):  # counted anew: killed while it repeats, then not any more
        again = Rig(killed.run, lag)
        if call == 90:
            train_until(again, 25)
        else:
            assert again.train().reason == "finished"
    history = again.history
    repeated = before.step if not lag else min(before.step, 80)
    assert history.losses[:repeated] == before.losses[:repeated]
    assert history.seconds[:repeated] == before.seconds[:repeated]
    assert list(history.progress) == sorted(history.progress)
    assert again.training.state.train_seconds == pytest.approx(sum(history.seconds), abs=1e-3)
    assert history.lr[-1] < 0.1 * max(history.lr)
    assert_reproduces(reproduced(killed.run, 0), killed.run)


@lagging
def test_a_resumed_run_repeats_every_step_that_was_logged_after_its_checkpoint(lag: int, tmp_path: Path) -> None:
    killed = timed(tmp_path, lag)
    train_until(killed, 150)
    before = killed.history
    resumed = Rig(killed.run, lag)
    resumed.train()
    after = resumed.history
    for name in ("losses", "lr", "seconds", "progress"):
        assert getattr(after, name)[: before.step] == getattr(before, name)


def test_the_clock_ends_no_run_before_its_recorded_steps_are_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = timed(tmp_path, 0)
    train_until(killed, 150)
    before = killed.history
    now = [0.0]

    def slow() -> float:
        now[0] += 1.0
        return now[0]

    set_clock(monkeypatch, slow)
    resumed = Rig(killed.run, 0)
    assert resumed.train().detail == "the time budget is used up"
    assert resumed.history.losses[: before.step] == before.losses and resumed.history.step <= before.step + 3


def test_a_rollback_under_a_time_budget_is_reproduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = timed(tmp_path, 0, guard_nonfinite="rollback")
    found.learner.bad = {95}
    found.train()
    assert found.history.rewinds == [80]
    bad = LearnerWithBadSteps({95})
    monkeypatch.setattr("lagging.LaggingLearner.__init__", bad.wrap())
    assert_reproduces(reproduced(found.run, 0), found.run)


class LearnerWithBadSteps:
    """Makes every new learner report these calls as not finite."""

    def __init__(self, bad: set[int]) -> None:
        self._bad = bad

    def wrap(self) -> Callable[..., None]:
        from lagging import LaggingLearner

        create = LaggingLearner.__init__

        def create_with_bad_steps(learner: LaggingLearner, *about: Any) -> None:
            create(learner, *about)
            learner.bad = set(self._bad)

        return create_with_bad_steps


def test_a_fork_with_more_time_follows_its_own_budget(tmp_path: Path) -> None:
    parent = timed(tmp_path, 0)
    parent.train()
    run = fork_run(parent.run, {"time_budget": 6.0})
    first = Rig(run, 0)
    train_until(first, 60)
    resumed = Rig(run, 0)
    assert resumed.train().detail == "the time budget is used up"
    history, steps = resumed.history, parent.history.step
    assert history.step > 1.5 * steps and history.progress[steps] == pytest.approx(0.5, abs=0.02)
    assert list(history.progress[steps:]) == sorted(history.progress[steps:]) and history.progress[-1] > 0.97


def test_a_missing_progress_file_is_reported_in_one_sentence(tmp_path: Path) -> None:
    found = timed(tmp_path, 0, time_budget=0.3)
    found.train()
    past = read_recorded_run(found.run)
    again = create_replay(past, past.last, derive_settings(past, {}), tmp_path / "results", None)
    for content in ('{"progress": [2.0]}', '{"progress": 3}', "[", None):
        again.progress_path.unlink() if content is None else again.progress_path.write_text(content)
        with pytest.raises(UserError, match=r"progress.json is missing or damaged. Reproduce the original run again"):
            Rig(again, 0)


@pytest.mark.parametrize("damage", [{"schedule": "2"}, {"stop_at": 1.5}, {"stop_at": [3]}])
def test_a_damaged_manifest_is_reported_in_one_sentence(damage: dict[str, Any], tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(UserError, match=r"config.json is damaged \(schedule, stop_at\)\. Restore it from a copy"):
        RunSchedule.of(run, {**run.config, **damage}, TrainSettings(**run.config["resolved"]))


def test_a_run_without_a_time_budget_logs_no_progress(tmp_path: Path) -> None:
    found = rig(tmp_path, 0, steps=20, sample_tokens=0)
    found.train()
    assert '"progress"' not in found.run.events_path.read_text() and len(found.history.progress) == 0
    again = reproduced(found.run, 0)
    assert "replays_progress" not in again.run.config and not again.run.progress_path.exists()


# --- ending early ---------------------------------------------------------------------------------


@lagging
def test_a_run_that_stops_at_a_step_and_its_continuation_equal_one_run(lag: int, tmp_path: Path) -> None:
    how = {"steps": 60, "eval_every": 10, "sample_tokens": 0}
    whole = rig(tmp_path / "whole", 0, **how)
    whole.train()
    rung = make_run(tmp_path, **how)
    rung.write_config({**rung.config, "stop_at": 30})
    half = Rig(rung, lag)
    assert half.train() == Ending("finished", 0)
    assert half.history.step == 30 and half.history.lr == whole.history.lr[:30]
    rest = Rig(fork_run(rung, {}), lag)
    assert rest.train().reason == "finished"
    assert rest.history.losses == whole.history.losses and rest.history.lr == whole.history.lr
