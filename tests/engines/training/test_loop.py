"""The training loop with learners whose results lag behind: the log and the checkpoints always agree."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import events_of, weights_sha256
from lagging import FAST, LAGS, Rig, assert_agrees, rig, saved_steps, set_clock, skip_disk_syncs

from engines.training import callbacks
from engines.training.ending import Ending

BRIEF = {"steps": 40, "eval_every": 10, "checkpoint_every": 10, "sample_tokens": 0, "keep_last": 0}
lagging = pytest.mark.parametrize("lag", LAGS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_disk_syncs(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """A run without a lag or an incident."""
    found = rig(tmp_path_factory.mktemp("whole"), 0, **BRIEF)
    assert found.train().reason == "finished"
    return found


def evals_of(rig: Rig) -> list[tuple[int, float]]:
    return [(event["step"], event["bpb"]) for event in rig.history.evals]


def assert_same(found: Rig, whole: Rig) -> None:
    assert_agrees(found)
    assert found.history.losses == whole.history.losses and found.history.lr == whole.history.lr
    assert evals_of(found) == evals_of(whole)
    assert weights_sha256(found.run, 40) == weights_sha256(whole.run, 40)


@lagging
def test_a_lag_changes_neither_losses_nor_evaluations_nor_weights(lag: int, whole: Rig, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, **BRIEF)
    assert found.train() == Ending("finished", 0)
    assert_same(found, whole)
    assert saved_steps(found.run) == [10, 20, 30, 40]


# --- rolling back ---------------------------------------------------------------------------------


@lagging
@pytest.mark.parametrize("at", [1, 10, 13, 20, 40])
def test_a_rollback_leaves_a_log_that_agrees_with_the_checkpoints(lag: int, at: int, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, **BRIEF, guard_nonfinite="rollback")
    found.learner.bad = {at}
    assert found.train().reason == "finished"
    assert_agrees(found)
    history = found.history
    assert history.step == 40 and history.rewinds == [(at - 1) // 10 * 10]
    assert [step for step, _ in evals_of(found)] == [0, 10, 20, 30, 40]


@lagging
@pytest.mark.parametrize(("rule", "exit_code"), [("nonfinite", 4), ("spike", 3)])
def test_a_rollback_that_is_given_up_keeps_the_steps_in_flight(
    lag: int, rule: str, exit_code: int, tmp_path: Path
) -> None:
    how = {**BRIEF, "steps": 120, "eval_every": 0, "checkpoint_every": 60, f"guard_{rule}": "rollback"}
    found = rig(tmp_path, lag, **how)
    every = set(range(66, 1000))
    found.learner.bad, found.learner.loud = (every, set()) if rule == "nonfinite" else (set(), every)
    ending = found.train()
    assert (ending.reason, ending.exit_code) == ("halted", exit_code)
    assert found.history.rewinds == [60, 60, 60]
    assert_agrees(found)
    assert saved_steps(found.run)[-1] == (60 if rule == "nonfinite" else found.history.step)
    again = Rig(found.run, lag)
    assert again.train().reason == "finished"
    assert_agrees(again)


# --- halting, stopping, pausing -------------------------------------------------------------------


@lagging
def test_a_halt_for_a_loss_that_is_not_finite_logs_every_step_and_saves_no_checkpoint(lag: int, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, **BRIEF)
    found.learner.bad = {15}
    ending = found.train()
    assert (ending.reason, ending.exit_code) == ("halted", 4) and "step 15" in str(ending.detail)
    assert_agrees(found)
    assert saved_steps(found.run) == [10] and 15 <= found.history.step <= 20
    assert [event["step"] for event in found.history.guards] == [15]


@lagging
def test_a_halt_among_the_steps_in_flight_takes_precedence_over_a_stop(lag: int, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, {15: "stop"}, **BRIEF)
    found.learner.bad = {15}
    assert found.train().reason == "halted"
    assert_agrees(found)
    assert saved_steps(found.run) == [10]


@lagging
def test_a_final_checkpoint_that_does_not_fit_on_the_disk_is_a_halt(
    lag: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rig(tmp_path, lag, **{**BRIEF, "checkpoint_every": 0, "eval_every": 0})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    ending = found.train()
    assert (ending.reason, ending.exit_code) == ("halted", 3) and "disk" in str(ending.detail)
    assert_agrees(found)
    assert 40 not in dict(evals_of(found))  # nothing is reported of a model that is lost


@lagging
@pytest.mark.parametrize("at", [0, 7, 10, 39])
def test_a_stopped_run_resumes_to_the_same_numbers(lag: int, at: int, whole: Rig, tmp_path: Path) -> None:
    stopped = rig(tmp_path, lag, {at: "stop"}, **BRIEF)
    assert stopped.train().reason == "stopped"
    assert_agrees(stopped)
    assert stopped.history.step == at and saved_steps(stopped.run)[-1] == at
    resumed = Rig(stopped.run, lag)
    assert resumed.train().reason == "finished"
    assert_same(resumed, whole)


@lagging
def test_a_paused_run_has_logged_every_step_and_continues_from_there(lag: int, whole: Rig, tmp_path: Path) -> None:
    seen: list[tuple[int, bool]] = []

    def resume(seconds: float) -> None:
        history = found.history
        seen.append((history.step, history.paused))
        found.requests.waiting[0] = "resume"

    found = rig(tmp_path, lag, {17: "pause"}, FAST._replace(sleep=resume), **BRIEF)
    assert found.train().reason == "finished"
    assert seen == [(17, True)] and found.requests.handled == ["pause", "resume"]
    assert_same(found, whole)


@lagging
def test_a_run_that_is_stopped_while_paused_ends(lag: int, tmp_path: Path) -> None:
    timing = FAST._replace(sleep=lambda seconds: found.requests.waiting.update({0: "stop"}))
    found = rig(tmp_path, lag, {17: "pause"}, timing, **BRIEF)
    assert found.train().reason == "stopped"
    assert_agrees(found)
    assert saved_steps(found.run)[-1] == 17


@lagging
def test_a_request_is_performed_for_the_current_step(lag: int, whole: Rig, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, {13: "checkpoint", 24: "evaluate"}, **{**BRIEF, "keep_best": False})
    assert found.train().reason == "finished"
    assert_agrees(found)
    assert saved_steps(found.run) == [10, 13, 20, 30, 40]
    assert [step for step, _ in evals_of(found)] == [0, 10, 20, 24, 30, 40]
    assert found.history.losses == whole.history.losses


# --- budgets --------------------------------------------------------------------------------------


def tick(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[], float]) -> None:
    """A clock that only advances when it is read."""
    now = [0.0]

    def monotonic() -> float:
        now[0] += seconds()
        return now[0]

    set_clock(monkeypatch, monotonic)


@lagging
def test_a_token_budget_ends_the_run_at_its_step(lag: int, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, **{**BRIEF, "tokens": 8 * 23 - 3})
    assert found.train() == Ending("finished", 0, "the token budget is used up")
    assert_agrees(found)
    assert found.history.step == 23 == saved_steps(found.run)[-1] and found.history.tokens == 8 * 23


@lagging
def test_a_time_budget_counts_collected_steps(lag: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick(monkeypatch, lambda: 0.01)
    found = rig(tmp_path, lag, **{**BRIEF, "steps": 1000, "time_budget": 2.0})
    assert found.train() == Ending("finished", 0, "the time budget is used up")
    assert_agrees(found)
    assert found.training.state.train_seconds >= 2.0 and saved_steps(found.run)[-1] == found.history.step
    assert sum(found.history.seconds) == pytest.approx(found.training.state.train_seconds, abs=1e-3)


@lagging
def test_a_target_ends_the_run_at_the_evaluation_that_reaches_it(lag: int, whole: Rig, tmp_path: Path) -> None:
    target = dict(evals_of(whole))[20]
    found = rig(tmp_path, lag, **{**BRIEF, "target_bpb": target})
    ending = found.train()
    assert ending.reason == "finished" and "reach the target" in str(ending.detail)
    assert_agrees(found)
    assert found.history.step == 20 and evals_of(found) == evals_of(whole)[:3]


# --- the best evaluation --------------------------------------------------------------------------


@lagging
def test_each_new_best_evaluation_has_a_checkpoint(lag: int, tmp_path: Path) -> None:
    found = rig(tmp_path, lag, **{**BRIEF, "eval_every": 7, "checkpoint_every": 10, "keep_last": 1})
    kept: dict[int, list[int]] = {}

    def record_checkpoints() -> None:
        found.training.callbacks.wait_for_checkpoint()
        kept[found.training.state.step] = saved_steps(found.run)

    found.requests.on_poll = record_checkpoints
    assert found.train().reason == "finished"
    assert_agrees(found)
    evals = dict(evals_of(found))
    for step in range(7, 40):
        best = min((at for at in evals if at <= step), key=lambda at: evals[at])
        assert best in kept[step]
    assert len(saved_steps(found.run)) <= 3  # the newest, the best, and the best when the newest was saved


@pytest.mark.parametrize("how", [{"keep_best": False}, {"lr": 1e-9, "eval_every": 40}])
def test_no_checkpoint_is_added_for_an_evaluation_that_is_not_to_be_kept(how: dict[str, Any], tmp_path: Path) -> None:
    found = rig(tmp_path, 0, **{**BRIEF, "eval_every": 7, "checkpoint_every": 20, **how})
    found.train()
    assert saved_steps(found.run) == [20, 40]


@lagging
def test_the_best_evaluation_is_decided_by_bits_per_byte(
    lag: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.training.evaluation import Evaluation

    scores = iter([(3.0, 4.0), (2.0, 3.5), (2.5, 3.0), (1.0, float("nan")), (0.5, 3.2)])
    monkeypatch.setattr(callbacks, "evaluate", lambda *about: Evaluation(*next(scores), 10, 10))
    found = rig(tmp_path, lag, **{**BRIEF, "keep_last": 1})
    found.train()
    assert found.training.callbacks.best_step == 20 and saved_steps(found.run) == [20, 40]
    assert [event["best"] for event in events_of(found.run, "eval")] == [True, True, True, False, False]
    best = found.history.best_eval
    assert best and (best["step"], best["loss"], best["bpb"]) == (20, 2.5, 3.0)
