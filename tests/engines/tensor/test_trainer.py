"""Steps of a learner: masked updates change no bit, micro-batches add up, and a restored state continues exactly."""

import gc
import math
import weakref
from typing import Any

import pytest
import torch
from tensors import (
    FLOAT64_CPU,
    TINY_GPT,
    V,
    build_tensor_learner,
    copy_gradients,
    copy_weights,
    gpt_settings,
    random_batch,
    random_batches,
    randomize_weights,
    score_rows,
    state_bytes,
)
from torch import Tensor

from engines.errors import UserError
from engines.interfaces import StepHyperparameters
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.tensor.trainer import TensorLearner
from engines.training.schedules import compute_at_step

ON_CPU = {"mode": "tensor", "device": "cpu", "dtype": "float32", "threads": 1}
SMALL = {"batch_size": 4, "context_length": 6}
MINI = {"model_kind": "mini-gpt", "width": 8, "heads": 2, **SMALL}
LEARNING_RATES = {"lr": 0.02, "embedding_lr": 0.1, "head_lr": 0.02, "scalar_lr": 0.1}  # larger than the defaults
GPT = {**TINY_GPT, "document_mask": True, "window_pattern": "SL", "window": 4, **LEARNING_RATES}
KINDS = {
    "bigram-sgd": {"model_kind": "bigram", "optimizer": "sgd", **SMALL},
    "bigram-adamw": {"model_kind": "bigram", **SMALL},
    "bigram-muon": {"model_kind": "bigram", "optimizer": "muon", **SMALL},
    "mini-gpt-adamw": MINI,
    "mini-gpt-muon": {**MINI, "layers": 2, "optimizer": "muon"},
    "gpt-muon": GPT,
    "gpt-adamw": {**GPT, "optimizer": "adamw"},
    "gpt-sgd": {**GPT, "optimizer": "sgd", "lr": 0.5},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def cpu_settings(kind: str, **given: Any) -> TrainSettings:
    return resolve({**KINDS[kind], **ON_CPU, **given})


def train(learner: TensorLearner, settings: TrainSettings, steps: range) -> list[tuple[float, float]]:
    batches = random_batches(settings)
    for step in steps:
        hyperparameters = compute_at_step(step, settings, settings.steps)._replace(lr=settings.lr)
        learner.step(batches.batch(step * settings.batch_size), hyperparameters)
    return [tuple(result) for result in learner.pop_results()]


# --- steps ----------------------------------------------------------------------------------------


@every_kind
def test_steps_lower_the_loss_and_results_are_returned_once_in_order(kind: str) -> None:
    settings = cpu_settings(kind, seed=3)
    learner, batch = build_tensor_learner(settings), random_batch(settings)
    expected = []
    for _ in range(30):
        nats = [n for row in score_rows(learner.model, batch.rows()) for n in row]
        expected.append(math.fsum(nats) / len(nats))
        learner.step(batch, StepHyperparameters(settings.lr))
    found = learner.pop_results()
    assert [result.loss for result in found] == pytest.approx(expected, rel=1e-5)
    assert found[-1].loss < found[0].loss - 0.2
    assert all(result.grad_norm > 0 for result in found) and learner.pop_results() == []


@every_kind
def test_the_gradient_norm_is_that_of_the_whole_gradient(kind: str) -> None:
    settings = cpu_settings(kind, dtype="float64")
    learner = build_tensor_learner(settings)
    learner.step(random_batch(settings), StepHyperparameters(settings.lr))
    (result,) = learner.pop_results()
    numbers = torch.cat([gradient.flatten() for gradient in copy_gradients(learner).values()])
    assert result.grad_norm == pytest.approx(float(numbers.norm()), rel=1e-12)


# --- skipped updates and warm-up ------------------------------------------------------------------


def weights_and_optimizer_state(learner: TensorLearner) -> dict[str, bytes]:
    return {name: content for name, content in state_bytes(learner).items() if name != "counters"}


@every_kind
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_with_a_nonfinite_loss_changes_nothing_and_reports_it(kind: str, bad: float) -> None:
    settings = cpu_settings(kind)
    learner = build_tensor_learner(settings)
    train(learner, settings, range(2))
    name, parameter = next(iter(learner.model.weights.items()))
    original = parameter.detach()[:].clone()
    with torch.no_grad():
        parameter.fill_(bad)
    before = weights_and_optimizer_state(learner)
    (result,) = train(learner, settings, range(2, 3))
    assert not all(map(math.isfinite, result)) and weights_and_optimizer_state(learner) == before, name
    with torch.no_grad():
        parameter.copy_(original)
    ((loss, norm),) = train(learner, settings, range(3, 4))
    assert math.isfinite(loss) and math.isfinite(norm) and weights_and_optimizer_state(learner) != before


@every_kind
def test_a_step_with_a_nonfinite_gradient_changes_nothing(kind: str) -> None:
    settings = cpu_settings(kind)
    learner = build_tensor_learner(settings)
    train(learner, settings, range(2))
    before = weights_and_optimizer_state(learner)
    parameter = list(learner.model.weights.values())[-1]
    handle = parameter.register_hook(lambda gradient: gradient * math.inf)
    ((loss, norm),) = train(learner, settings, range(2, 3))
    assert math.isfinite(loss) and not math.isfinite(norm) and weights_and_optimizer_state(learner) == before
    handle.remove()
    ((_, norm),) = train(learner, settings, range(3, 4))
    assert math.isfinite(norm) and weights_and_optimizer_state(learner) != before


@every_kind
def test_a_warm_up_changes_neither_the_state_nor_later_steps(kind: str) -> None:
    settings = cpu_settings(kind)
    learner, other = build_tensor_learner(settings), build_tensor_learner(settings)
    for steps in (range(0), range(3)):
        assert train(learner, settings, steps) == train(other, settings, steps)
        before = state_bytes(learner)
        learner.warm_up(random_batch(settings, seed=8))
        assert state_bytes(learner) == before and learner.pop_results() == []
    assert train(learner, settings, range(3, 6)) == train(other, settings, range(3, 6))
    assert state_bytes(learner) == state_bytes(other)


# --- micro-batches --------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("rows", [1, 2])
def test_micro_batches_accumulate_the_gradient_and_update_of_the_batch(kind: str, rows: int) -> None:
    def train_one_step(micro_batch: int) -> TensorLearner:
        settings = cpu_settings(kind, dtype="float64", micro_batch=micro_batch)
        learner = build_tensor_learner(settings)
        randomize_weights(learner)
        learner.step(random_batch(settings), StepHyperparameters(settings.lr))
        return learner

    whole, parts = train_one_step(4), train_one_step(rows)
    ours, theirs = parts.pop_results()[0], whole.pop_results()[0]
    assert ours == pytest.approx(theirs, rel=1e-12)
    for of in (copy_gradients, copy_weights):
        for name, expected in of(whole).items():
            torch.testing.assert_close(of(parts)[name], expected, rtol=1e-12, atol=1e-12)


def limit_rows_in_memory(learner: TensorLearner, max_rows: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Raise OutOfMemoryError for more than `max_rows` rows. Return the list that collects the row counts tried."""
    tried, per_token_loss = [], learner.model.per_token_loss

    def compute_with_little_memory(rows: Tensor) -> Tensor:
        tried.append(len(rows))
        if len(rows) > max_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return per_token_loss(rows)

    monkeypatch.setattr(learner, "_loss", compute_with_little_memory)
    return tried


def test_a_warm_up_halves_the_micro_batch_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gpt_settings(batch_size=12)
    learner, other = build_tensor_learner(settings), build_tensor_learner(settings)
    learner._micro_batch.rows = 12
    tried = limit_rows_in_memory(learner, 3, monkeypatch)
    before = state_bytes(learner)
    learner.warm_up(random_batch(settings))
    assert tried == [12, 6, 3, 3, 3, 3] and state_bytes(learner) == before
    (choice,) = [choice for choice in learner.decisions if choice.setting == "micro-batch"]
    assert choice.value == "3 of 12 rows"
    for each in (learner, other):
        each.step(random_batch(settings), StepHyperparameters(settings.lr))
    assert learner.pop_results()[0] == pytest.approx(other.pop_results()[0], rel=1e-12)


def test_tensors_of_a_failed_attempt_are_freed_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gpt_settings(batch_size=12)
    learner = build_tensor_learner(settings)
    learner._micro_batch.rows = 12
    references: list[weakref.ref[Tensor]] = []

    def compute_with_little_memory(rows: Tensor) -> Tensor:
        assert all(reference() is None for reference in references)
        if len(rows) < 12:
            raise UserError("second attempt")
        large = torch.zeros(9)
        cycle: list[object] = [large]
        cycle.append(cycle)
        references.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(learner, "_loss", compute_with_little_memory)
    gc.disable()
    try:
        with pytest.raises(UserError, match="second attempt"):
            learner.warm_up(random_batch(settings))
    finally:
        gc.enable()
    assert references


def test_a_requested_micro_batch_is_not_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gpt_settings(batch_size=12, micro_batch=6)
    learner = build_tensor_learner(settings)
    limit_rows_in_memory(learner, 3, monkeypatch)
    with pytest.raises(UserError, match=r"--micro-batch 6 does not fit in the GPU's memory. Try 3, or 0"):
        learner.warm_up(random_batch(settings))


def test_a_single_row_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = gpt_settings()
    learner = build_tensor_learner(settings)
    limit_rows_in_memory(learner, 0, monkeypatch)
    with pytest.raises(UserError, match="a single row does not fit"):
        learner.warm_up(random_batch(settings))


def test_out_of_memory_in_a_step_is_an_error_with_a_smaller_micro_batch_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = gpt_settings(micro_batch=4)
    learner = build_tensor_learner(settings)
    train(learner, settings, range(2))
    before = state_bytes(learner)
    limit_rows_in_memory(learner, 3, monkeypatch)
    with pytest.raises(UserError, match=r"out of memory with --micro-batch 4.*--micro-batch 2"):
        learner.step(random_batch(settings), StepHyperparameters(settings.lr))
    assert state_bytes(learner) == before and learner.pop_results() == []


# --- state ----------------------------------------------------------------------------------------


@every_kind
def test_a_learner_resumes_from_a_state_exactly(kind: str) -> None:
    settings = cpu_settings(kind)
    uninterrupted, resumed = build_tensor_learner(settings), build_tensor_learner(cpu_settings(kind, seed=5))
    assert state_bytes(uninterrupted) != state_bytes(resumed)
    train(uninterrupted, settings, range(4))
    state = uninterrupted.state()
    expected = train(uninterrupted, settings, range(4, 9))
    resumed.load_state(state)
    assert train(resumed, settings, range(4, 9)) == expected
    assert state_bytes(resumed) == state_bytes(uninterrupted)


def test_a_state_is_a_copy_that_later_steps_do_not_change() -> None:
    settings = cpu_settings("gpt-muon")
    learner = build_tensor_learner(settings)
    state = learner.state()
    before = [bytes(array.data) for part in state[:2] for array in part.values()]
    train(learner, settings, range(2))
    assert [bytes(array.data) for part in state[:2] for array in part.values()] == before


def test_schedules_of_momentum_and_decay_resume_from_the_step_count_of_the_state() -> None:
    """Use a short run, whose schedules change with every step."""
    how = {"steps": 6, "weight_decay": 5.0, "warmdown_fraction": 0.5}
    settings = cpu_settings("gpt-muon", **how)
    learner, uncounted = build_tensor_learner(settings), build_tensor_learner(settings)
    train(learner, settings, range(4))
    uncounted.load_state(learner.state()._replace(counters={"steps": 0}))
    for each in (learner, uncounted):
        train(each, settings, range(4, 5))
    assert state_bytes(learner) != state_bytes(uncounted)


def test_weights_stay_float32_with_bfloat16_activations() -> None:
    settings = cpu_settings("gpt-muon", dtype="bfloat16")
    learner = build_tensor_learner(settings)
    losses = [loss for loss, _ in train(learner, settings, range(10))]
    assert {array.dtype for array in learner.state().model.values()} == {"F32"}
    exact = build_tensor_learner(cpu_settings("gpt-muon"))
    assert losses == pytest.approx([loss for loss, _ in train(exact, settings, range(10))], abs=0.05)
    assert {array.dtype for array in build_tensor_learner(gpt_settings()).state().model.values()} == {"F64"}


def test_every_decision_for_the_machine_is_recorded_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.system.cpu.has_bfloat16_matmul", lambda: False)
    given = {**GPT, "device": "cpu", "dtype": "float32", "compile": "off", "threads": 1, "micro_batch": 2}
    requested_learner = build_tensor_learner(resolve(given))
    assert [choice.value for choice in requested_learner.decisions] == ["cpu", "float32", "off", "1", "2 of 4 rows"]
    assert {choice.reason for choice in requested_learner.decisions} == {"requested"} and requested_learner.gpu is None
    decided = {choice.setting: choice for choice in build_tensor_learner(resolve({**GPT, "device": "cpu"})).decisions}
    assert list(decided) == ["device", "dtype", "compile", "threads", "micro-batch"]
    assert all(choice.reason for choice in decided.values())
    assert decided["dtype"].value == "float32" and decided["micro-batch"].value.endswith("of 4 rows")


def test_the_vocabulary_has_the_requested_size() -> None:
    learner = build_tensor_learner(resolve({**KINDS["gpt-muon"], **FLOAT64_CPU}))
    assert len(learner.model.logits([1, 2])) == V
