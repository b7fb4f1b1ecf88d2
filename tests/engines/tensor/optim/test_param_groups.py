"""Assignment of parameters to optimizers and learning rates."""

from typing import Any

import pytest
import torch
from tensors import (
    FLOAT64_CPU,
    SWITCHES,
    V,
    build_tensor_learner,
    copy_weights,
    gpt_settings,
    random_batch,
    randomize_weights,
)
from torch import Tensor

from engines.cost.parameter_shapes import is_matrix, numel, parameter_shapes
from engines.interfaces import StepHyperparameters
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings


def random_weights(settings: TrainSettings, vocab_size: int = V) -> dict[str, Tensor]:
    learner = build_tensor_learner(settings, vocab_size)
    randomize_weights(learner)
    return copy_weights(learner)


def compute_first_update(settings: TrainSettings, vocab_size: int = V) -> dict[str, Tensor]:
    """Return the change of random parameters by a first update at the peak rate."""
    learner = build_tensor_learner(settings, vocab_size)
    randomize_weights(learner)
    before = copy_weights(learner)
    learner.step(random_batch(settings, vocab_size), StepHyperparameters(settings.lr))
    return {name: part - before[name] for name, part in copy_weights(learner).items()}


def test_each_group_of_the_gpt_uses_its_learning_rate_and_decay() -> None:
    """AdamW's first update is the rate plus the decay, where there is a gradient."""
    settings = gpt_settings(embedding_lr=0.03, head_lr=0.002, scalar_lr=0.05)
    groups = {
        "wte": (0.03, 0.001), "head": (0.002, 0.01), "0.value_embedding": (0.5 * 0.03, 0.01),
        "residual_scalars": (0.01 * 0.05, 0.05), "embedding_scalars": (0.05, 0.0),
        "smear_gate": (0.2, 0.0), "smear_scalar": (0.2, 0.0), "backout_scalar": (0.2, 0.0),
    }  # fmt: skip
    found, before = compute_first_update(settings), random_weights(settings)
    for name, (rate, decay) in groups.items():
        moved = (found[name] + rate * decay * before[name]).abs()
        assert float(moved.max()) == pytest.approx(rate, rel=1e-5), name
        assert float(moved[moved > rate / 2].min()) == pytest.approx(rate, rel=1e-3), name


def test_learning_rates_of_groups_follow_the_schedule() -> None:
    settings = gpt_settings(embedding_lr=0.03)
    learner = build_tensor_learner(settings)
    before = copy_weights(learner)["wte"]
    learner.step(random_batch(settings), StepHyperparameters(settings.lr / 4))
    assert float((copy_weights(learner)["wte"] - before).abs().max()) == pytest.approx(0.03 / 4, rel=0.02)


def test_matrices_of_a_gpt_use_the_learning_rate_of_the_chosen_optimizer() -> None:
    plain = dict.fromkeys(("row_equilibration", "variance_reduction"), False)
    found = compute_first_update(gpt_settings(lr=0.01, weight_decay=0.0, **plain))
    assert float(found["1.fc"].norm()) == pytest.approx(0.01 * 2.0 * 4, rel=0.01)  # sqrt(64 / 16), sqrt(16)
    assert float(found["1.proj"].norm()) == pytest.approx(0.01 * 4, rel=0.01)
    adamw = compute_first_update(gpt_settings(optimizer="adamw", lr=0.001, beta1=0.9))
    assert float(adamw["1.fc"].abs().max()) == pytest.approx(0.001, rel=0.01)
    assert float(adamw["head"].abs().max()) == pytest.approx(gpt_settings().head_lr, rel=0.02)


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(switches) or "defaults")
@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
def test_every_parameter_changes_in_an_update(switches: dict[str, Any], optimizer: str) -> None:
    assert [
        name
        for name, move in compute_first_update(gpt_settings(optimizer=optimizer, **switches)).items()
        if not move.any()
    ] == []


def test_optimizer_state_is_of_muon_for_matrices_and_of_adamw_for_the_rest() -> None:
    settings = gpt_settings()
    shapes = parameter_shapes(settings, V)
    state = build_tensor_learner(settings).state().optimizer
    in_matrices = sum(numel(shape) for name, shape in shapes.items() if is_matrix(name))
    assert sum(numel(array.shape) for name, array in state.items() if name.endswith(".momentum")) == in_matrices
    means = [array for name, array in state.items() if name.endswith(".mean")]
    rest = sum(numel(shape) for name, shape in shapes.items() if not is_matrix(name))
    assert rest <= sum(numel(array.shape) for array in means) < rest + 64 * len(means) * len(shapes)
    assert build_tensor_learner(gpt_settings(optimizer="sgd")).state().optimizer == {}


def test_embeddings_of_a_small_model_use_three_quarters_of_the_learning_rate_of_muon() -> None:
    how = {"model_kind": "mini-gpt", "optimizer": "muon", "lr": 0.02, "batch_size": 4, **FLOAT64_CPU}
    found = compute_first_update(resolve(how), 9)
    assert float(found["wte"].abs().max()) == pytest.approx(0.75 * 0.02, rel=0.01)
    assert float(found["0.wq"].norm()) == pytest.approx(0.02 * 4, rel=0.01)


def test_weight_decay_applies_to_matrices_only() -> None:
    usual, without = (compute_first_update(gpt_settings(weight_decay=decay)) for decay in (0.5, 0.0))
    differ = {name for name in usual if not torch.equal(usual[name], without[name])}
    assert differ == {name for name in usual if is_matrix(name)}
