"""Comparing two records of one training: identical, identical up to rounding, or diverged, and where."""

import math
from pathlib import Path
from typing import Any

import pytest
from builders import make_run
from hypothesis import given
from hypothesis import strategies as some

from engines import events
from engines.reproduce.compare import (
    DIVERGED,
    IDENTICAL,
    ROUNDING,
    TOLERANCE,
    EnvironmentChange,
    EvalScores,
    MatchCount,
    TrainingRecord,
    compare_records,
    compute_distance,
)
from engines.reproduce.replay import derive_settings, read_recorded_run
from engines.runs.store import Run

FIXTURES = Path(__file__).parents[2] / "fixtures" / "runs"
NUMBERS = some.floats(allow_nan=True, allow_infinity=True)
LOSSES = [3.0, 2.5, 2.25, 2.0]


def record(**parts: Any) -> TrainingRecord:
    usual: dict[str, Any] = {
        "losses": LOSSES,
        "evals": {0: EvalScores(3.0, 4.5), 4: EvalScores(2.0, 3.5)},
        "samples": {4: "the dog"},
        "weights": {2: "aa", 4: "bb"},
        "environment": {"python": "3.13"},
    }
    return TrainingRecord(**{**usual, **parts})


def with_loss(step: int, loss: float) -> list[float]:
    return [loss if at == step else usual for at, usual in enumerate(LOSSES, 1)]


def test_equal_records_are_identical() -> None:
    found = compare_records(record(), record())
    assert found.verdict == IDENTICAL and found.first is None and found.largest is None and found.environment == []
    assert (found.losses, found.evals, found.samples, found.weights) == (
        MatchCount(4, 4),
        MatchCount(2, 2),
        MatchCount(1, 1),
        MatchCount(2, 2),
    )
    assert found.weights_step == 4 and found.weights_same


@given(some.lists(NUMBERS))
def test_a_record_is_identical_to_itself_whatever_its_numbers(losses: list[float]) -> None:
    assert compare_records(record(losses=losses), record(losses=list(losses))).verdict == IDENTICAL


@given(NUMBERS, NUMBERS)
def test_distance_is_symmetric_and_zero_only_for_equal_numbers(a: float, b: float) -> None:
    assert compute_distance(a, b) == compute_distance(b, a) >= 0
    same = a == b or (math.isnan(a) and math.isnan(b))
    assert (compute_distance(a, b) == 0) == same or abs(a - b) < 1e-300


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [(10.0, 11.0, 1 / 11), (0.001, 0.002, 0.001), (math.nan, 1.0, math.inf), (math.inf, -math.inf, math.inf)],
)
def test_distance_is_relative_above_one_and_absolute_below(a: float, b: float, apart: float) -> None:
    assert compute_distance(a, b) == pytest.approx(apart)


def test_a_difference_in_the_last_bit_is_rounding_and_is_reported() -> None:
    found = compare_records(record(), record(losses=with_loss(3, math.nextafter(2.25, 3)), weights={2: "aa", 4: "cc"}))
    assert found.verdict == ROUNDING and found.losses == MatchCount(4, 3) and found.divergence is None
    assert found.first and found.first == found.largest and found.first.step == 3 and found.first.size < 1e-15
    assert found.weights_same is False and found.weights == MatchCount(2, 1)


def test_a_run_diverges_at_the_first_number_beyond_the_tolerance() -> None:
    losses = [3.0, 2.5 + 1e-9, 2.25 * (1 + 2 * TOLERANCE), 2.9]
    found = compare_records(record(), record(losses=losses))
    assert found.verdict == DIVERGED
    assert found.first and found.divergence and found.largest
    assert (found.first.step, found.divergence.step, found.largest.step) == (2, 3, 4)
    assert found.divergence[:4] == ("loss", 3, 2.25, losses[2])
    assert compare_records(record(), record(losses=losses), tolerance=1.0).verdict == ROUNDING
    assert (
        compare_records(record(), record(losses=with_loss(2, math.nextafter(2.5, 3))), tolerance=0).verdict == DIVERGED
    )


def test_a_new_nan_diverges_and_nan_equals_nan() -> None:
    broken = with_loss(2, math.nan)
    assert compare_records(record(losses=broken), record(losses=broken)).verdict == IDENTICAL
    found = compare_records(record(), record(losses=broken))
    assert found.verdict == DIVERGED and found.divergence and found.divergence.size == math.inf


def test_an_evaluation_diverges_after_the_loss_of_its_step() -> None:
    worse = {0: EvalScores(3.0, 4.5), 4: EvalScores(2.0, 3.6)}
    found = compare_records(record(), record(evals=worse))
    assert (
        found.divergence and found.divergence[:4] == ("validation bpb", 4, 3.5, 3.6) and found.evals == MatchCount(2, 1)
    )
    both = compare_records(record(), record(evals=worse, losses=with_loss(4, 2.1)))
    assert both.divergence and both.divergence.what == "loss"


def test_another_sample_diverges_only_if_no_number_explains_it() -> None:
    texts = {4: "the cat"}
    found = compare_records(record(), record(samples=texts))
    assert found.divergence and found.divergence[:4] == ("sample", 4, "the dog", "the cat")
    rounded = compare_records(record(), record(samples=texts, losses=with_loss(1, 3.0 + 1e-9)))
    assert rounded.verdict == ROUNDING and rounded.samples == MatchCount(1, 0)
    assert compare_records(record(), record(samples=texts, weights={4: "cc"})).verdict == ROUNDING


def grown(by: float, beginning: float) -> list[float]:
    """Losses whose difference from 2.0 multiplies at each of 60 steps."""
    return [2.0 + min(0.5, 2.0 * beginning * by**step) for step in range(60)]


def test_a_difference_that_grows_from_the_last_bit_without_a_jump_is_magnified_rounding() -> None:
    usual = record(losses=[2.0] * 60)
    found = compare_records(usual, record(losses=grown(1.5, 1e-7)))
    assert found.verdict == DIVERGED and found.is_magnified_rounding and found.growth == pytest.approx(1.5)
    assert not compare_records(usual, record(losses=grown(1.5, 1e-4))).is_magnified_rounding  # begins with more
    assert not compare_records(usual, record(losses=grown(1000, 1e-7))).is_magnified_rounding  # jumps
    assert not compare_records(usual, record(losses=grown(1.0, 1e-7))).is_magnified_rounding  # does not even depart


def test_other_weights_alone_are_rounding() -> None:
    found = compare_records(record(), record(weights={2: "aa", 4: "cc"}))
    assert found.verdict == ROUNDING and found.largest is None and found.weights_same is False


def test_only_values_in_both_records_are_compared() -> None:
    found = compare_records(
        record(evals={0: EvalScores(3.0, 4.5), 3: EvalScores(9.0, 9.0)}), record(losses=LOSSES[:2], weights={})
    )
    assert found.losses == MatchCount(2, 2) and found.evals == MatchCount(1, 1) and found.verdict == IDENTICAL
    assert found.weights == MatchCount(0, 0) and found.weights_step is None and found.weights_same is None


def test_copied_steps_are_not_compared() -> None:
    found = compare_records(record(), record(losses=with_loss(2, 9.0), evals={0: EvalScores(9.0, 9.0)}), after=2)
    assert found.losses == MatchCount(2, 2) and found.evals == MatchCount(0, 0) and found.weights == MatchCount(1, 1)


def test_the_environment_lists_changes_and_missing_records() -> None:
    found = compare_records(record(), record(environment={"python": "3.14", "torch": "2.13"}))
    assert found.environment == [EnvironmentChange("python", "3.13", "3.14"), EnvironmentChange("torch", None, "2.13")]
    assert found.verdict == IDENTICAL


# --- what is trained again ------------------------------------------------------------------------


def write_events(run: Run, *recorded: dict[str, Any]) -> None:
    run.events_path.write_bytes(b"".join(events.encode({"v": 1, "t": 0, **event}) for event in recorded))


def steps(first: int, last: int) -> dict[str, Any]:
    ones = [1.0] * (last - first + 1)
    columns = dict.fromkeys(("losses", "lr", "seconds", "grad_norms"), ones)
    return {"kind": "steps", "first_step": first, "tokens": 8 * last, **columns}


def resumed(step: int, reason: str) -> dict[str, Any]:
    return {"kind": "resumed", "from_step": step, "reason": reason}


@pytest.mark.parametrize(
    ("recorded", "last"),
    [
        ([steps(1, 10)], 10),
        ([steps(1, 10), resumed(5, "rollback"), steps(6, 12)], 12),
        ([steps(1, 10), resumed(5, "rollback"), steps(6, 8)], 5),
        ([steps(1, 10), resumed(5, "rollback"), steps(6, 8), resumed(5, "resume"), steps(6, 9)], 9),
        ([steps(1, 10), resumed(5, "rollback"), steps(6, 8), resumed(7, "resume"), steps(8, 9)], 5),
    ],
    ids=[
        "straight",
        "rolled back",
        "killed after a rollback",
        "resumed before the rollback",
        "resumed after the rollback",
    ],
)
def test_the_last_step_is_one_that_can_be_repeated(recorded: list[dict[str, Any]], last: int, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_events(run, *recorded)
    assert read_recorded_run(run).last == last


def test_decisions_are_kept_unless_another_device_is_requested(tmp_path: Path) -> None:
    run = make_run(tmp_path, mode="tensor")
    chosen = {"device": "cuda", "dtype": "bfloat16", "compile": "on", "micro-batch": "1 of 2 rows"}
    choices = [{"setting": name, "value": value, "why": ""} for name, value in chosen.items()]
    engine = {"kind": "engine", "choices": choices, "gpu": "NVIDIA H200", "flops_per_token": 1, "peak_flops": None}
    write_events(run, engine, steps(1, 7))
    held, elsewhere = (
        derive_settings(read_recorded_run(run), {}),
        derive_settings(read_recorded_run(run), {"device": "cpu"}),
    )
    assert (held.device, held.dtype, held.compile, held.micro_batch) == ("cuda", "bfloat16", "on", 1)
    assert (elsewhere.device, elsewhere.dtype, elsewhere.compile, elsewhere.micro_batch) == ("cpu", "auto", "auto", 0)
    assert held.steps == 20 and held.tokens is None


@pytest.mark.parametrize("folder", sorted(FIXTURES.iterdir()), ids=lambda folder: str(folder.name))
def test_runs_of_an_older_version_can_be_trained_again(folder: Path) -> None:
    past = read_recorded_run(Run(folder))
    settings = derive_settings(past, {})
    assert settings.lr == past.config["resolved"]["lr"] and settings.tokenizer == "char"
