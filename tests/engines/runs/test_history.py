"""History: the sum of events; going back to a checkpoint removes later steps and evaluations."""

import math
from array import array
from typing import Any

import pytest

from engines.runs.history import History


def steps(first: int, losses: list[float]) -> dict[str, Any]:
    column = [0.1] * len(losses)
    return {
        "t": 1.0, "kind": "steps", "first_step": first, "losses": losses, "lr": column, "seconds": column,
        "grad_norms": column, "tokens": 10 * (first + len(losses) - 1),
    }  # fmt: skip


def evaluation(step: int, loss: float) -> dict[str, Any]:
    return {"t": 1.0, "kind": "eval", "step": step, "loss": loss, "bpb": loss, "best": True}


def test_points_after_the_checkpoint_that_a_run_resumed_from_are_dropped() -> None:
    history = History()
    history.apply([steps(1, [5.0, 4.0, 3.0]), evaluation(2, 4.0), evaluation(3, 3.0)])
    history.apply([{"t": 2.0, "kind": "resumed", "from_step": 2, "reason": "resume"}, steps(3, [2.5, 2.0])])
    assert history.losses == array("d", [5.0, 4.0, 2.5, 2.0])
    assert [event["step"] for event in history.evals] == [2]
    assert history.tokens == 40


def test_a_viewer_keeps_the_newest_rates_alone() -> None:
    history, whole = History(recent=3), History()
    for first in range(1, 40, 2):
        for each in (history, whole):
            each.apply([{**steps(first, [5.0, 4.0]), "lr": [first, first + 1]}])
    assert history.losses == whole.losses and history.seconds == whole.seconds
    assert 3 <= len(history.lr) <= 7 and history.lr == whole.lr[-len(history.lr) :]
    back = {"t": 2.0, "kind": "resumed", "from_step": 39, "reason": "resume"}
    history.apply([back])
    assert history.lr[-1] == 39 and history.step == 39
    history.apply([{**back, "from_step": 2}, {**steps(3, [1.0]), "lr": [7.0]}])
    assert history.lr == array("d", [7.0]) and history.step == 3


def test_a_new_start_clears_the_previous_ending() -> None:
    history = History()
    history.apply([{"t": 1.0, "kind": "ended", "reason": "stopped", "step": 1, "exit_code": 0}])
    history.apply([{"t": 9.0, "kind": "run", "pid": 1, "host": "lab", "start": 2}])
    assert history.ended is None and len(history.runs) == 1


def test_throughput_counts_the_tokens_of_recent_steps() -> None:
    history = History()
    history.apply([steps(1, [1.0] * 100)])
    assert round(history.tokens_per_second()) == 100


def test_the_best_evaluation_is_the_lowest_finite_bpb_whatever_was_recorded() -> None:
    history = History()
    lower_in_nats = {**evaluation(3, 1.0), "bpb": 2.5}
    history.apply([evaluation(1, 3.0), evaluation(2, 2.0), lower_in_nats, {**evaluation(4, 0.5), "bpb": None}])
    assert history.best_eval is not None and history.best_eval["step"] == 2
    assert [event["best"] for event in history.evals] == [True, True, False, False]
    history.apply([{"t": 2.0, "kind": "resumed", "from_step": 1, "reason": "resume"}])
    assert history.best_eval is not None and history.best_eval["step"] == 1
    history.apply([evaluation(2, 2.75)])
    assert history.best_eval["step"] == 2 and history.best_eval["best"]


@pytest.mark.parametrize("progress", [["0.5"], [None], [-0.1], [1.5], [0.1, 0.2], {"0": 1}, [10**400]])
def test_progress_that_no_run_can_have_is_counted_and_leaves_no_trace(progress: Any) -> None:
    history = History()
    history.apply([{**steps(1, [5.0]), "progress": progress}, {**steps(1, [4.0]), "progress": [0.25]}])
    assert history.bad_events == 1 and history.losses == array("d", [4.0])
    assert history.progress == array("d", [0.25]) and history.fraction_done(1000) == 0.25


def test_progress_belongs_to_its_steps_if_only_some_have_it() -> None:
    history = History()
    resumed = {"t": 2.0, "kind": "resumed", "from_step": 4, "reason": "resume"}
    history.apply([steps(1, [5.0, 4.0]), {**steps(3, [3.0, 2.0, 1.0]), "progress": [0.1, 0.2, 0.3]}, resumed])
    history.apply([steps(5, [0.5])])
    assert [math.isnan(value) for value in history.progress] == [True, True, False, False, True]
    assert list(history.progress[2:4]) == [0.1, 0.2] and history.last_progress is None


def test_time_left_and_fraction_done_follow_the_clock_under_a_time_budget() -> None:
    by_steps, by_time = History(), History()
    by_steps.apply([steps(1, [1.0] * 10)])
    by_time.apply([{**steps(1, [1.0] * 10), "progress": [0.02 * n for n in range(10, 20)]}])
    assert by_steps.fraction_done(40) == 0.25 and by_steps.estimate_seconds_left(40) == pytest.approx(3.0)
    assert by_time.fraction_done(1_000_000) == 0.38 and by_time.estimate_seconds_left(1_000_000) == pytest.approx(
        1 / 0.38 - 1
    )
    assert History().estimate_seconds_left(10) is None and History().fraction_done(0) == 0.0


def test_columns_of_unequal_length_are_counted_not_applied() -> None:
    history = History()
    history.apply([{**steps(1, [1.0, 2.0]), "lr": [0.1]}])
    assert history.step == 0 and history.bad_events == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"losses": [10**400]},
        {"seconds": ["1"]},
        {"nonfinite": 5},
        {"nonfinite": {"losses": [1]}},
        {"nonfinite": {"losses": {"0": 10**400}}},
        {"nonfinite": {"losses": {"9": "nan"}}},
        {"first_step": 7},
    ],
)
def test_invalid_steps_are_counted_and_skipped(damage: dict[str, Any]) -> None:
    history = History()
    history.apply([steps(1, [5.0]), {**steps(2, [4.0]), **damage}, steps(2, [3.0])])
    assert history.bad_events == 1 and history.losses == array("d", [5.0, 3.0])


def test_a_gpu_without_a_peak_has_no_mfu() -> None:
    history = History()
    history.apply([steps(1, [5.0]), {"t": 1.0, "kind": "engine", "flops_per_token": 9, "peak_flops": 0}])
    assert history.mfu() is None
