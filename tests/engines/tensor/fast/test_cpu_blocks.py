"""Layers for a CPU, compared with the plain ones; results do not depend on the number of threads."""

from typing import Any

import pytest
import torch
from tensors import SWITCHES, build_random_gpt, build_tensor_learner, gpt_settings, random_rows
from torch import Tensor

from engines.interfaces import Batch, StepHyperparameters
from engines.settings.resolve import resolve
from engines.tensor.devices import resolve_device
from engines.tensor.fast.apply import build_training_model
from engines.tensor.fast.cpu_blocks import CPUBlock, CPUMiniBlock
from engines.tensor.models.base import TensorModel

ROWS = 12  # long enough rows of enough channels that torch splits sums among threads
LARGE = {"width": 128, "heads": 4, "layers": 2, "context_length": 64, "batch_size": ROWS, "device": "cpu"}
VOCAB_SIZE = 300
KINDS: dict[str, dict[str, Any]] = {
    "gpt-bfloat16": {"model_kind": "gpt", "dtype": "bfloat16"},
    "gpt-float32": {"model_kind": "gpt", "dtype": "float32", "window": 32},
    "mini-gpt": {"model_kind": "mini-gpt", "mode": "tensor", "optimizer": "adamw"},
    "bigram": {
        "model_kind": "bigram",
        "batch_size": 600,  # so many losses that torch splits their sum too
        "mode": "tensor",
        "layers": None,
        "width": None,
        "heads": None,
        "context_length": None,
    },
}


def compute_losses_and_gradients(model: TensorModel, rows: Tensor) -> list[Tensor]:
    losses = model.per_token_loss(rows)
    found = torch.autograd.grad(losses.sum(), list(model.weights.values()), allow_unused=True)
    return [losses, *(torch.zeros(()) if gradient is None else gradient for gradient in found)]


@pytest.mark.parametrize("switches", [*SWITCHES, {"optimizer": "sgd", "kv_heads": 2}], ids=str)
def test_layers_for_a_cpu_compute_the_losses_and_gradients_of_plain_layers(switches: dict[str, Any]) -> None:
    settings = gpt_settings(**switches)
    plain = build_random_gpt(settings)
    plain.requires_grad_()
    fast = build_training_model(plain, resolve_device(settings))
    assert isinstance(fast.layers[0], CPUBlock) == (settings.activation == "relu2")  # type: ignore[union-attr,index]
    rows = torch.tensor(random_rows(3, settings.context_length + 1))
    expected, found = (compute_losses_and_gradients(model, rows) for model in (plain, fast))
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-11)


def test_layers_of_a_mini_gpt_for_a_cpu_compute_the_losses_and_gradients_of_plain_layers() -> None:
    settings = resolve({**LARGE, **KINDS["mini-gpt"], "width": 16, "dtype": "float64"})
    learner = build_tensor_learner(settings)
    fast = build_training_model(learner.model, resolve_device(settings))
    assert isinstance(fast.blocks[0], CPUMiniBlock)  # type: ignore[union-attr,index]
    rows = torch.tensor(random_rows(3, settings.context_length + 1))
    expected, found = (compute_losses_and_gradients(model, rows) for model in (learner.model, fast))
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_changes_no_bit_of_training(kind: str) -> None:
    one, two = (train_two_steps({**LARGE, **KINDS[kind], "threads": threads}) for threads in (1, 2))
    for name, weight in one.items():
        assert weight == two[name], name


def train_two_steps(given: dict[str, Any]) -> dict[str, bytes]:
    settings = resolve({name: value for name, value in given.items() if value is not None})
    learner = build_tensor_learner(settings, VOCAB_SIZE)
    batch = Batch.from_rows(random_rows(settings.batch_size, 65))
    learner.warm_up(batch)
    for _ in range(2):
        learner.step(batch, StepHyperparameters(settings.lr))
    state = learner.state()
    tensors = {**state.model, **state.optimizer}
    return {name: array.data.tobytes() for name, array in tensors.items()} | {
        "losses": repr(learner.pop_results()).encode()
    }
