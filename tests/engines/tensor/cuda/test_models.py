"""Models on a CUDA GPU, compiled and not: masks, gradients and memory of evaluation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cuda_tensors import MASKS, cuda_gpt_settings, name_switches, needs_cuda
from tensors import V, build_random_gpt, build_tensor_learner, random_batch, random_batches, random_rows, score_rows
from torch import Tensor

from engines.interfaces import StepHyperparameters
from engines.settings.train import TrainSettings
from engines.tensor.compile import compile_loss
from engines.tensor.devices import resolve_device
from engines.tensor.fast.apply import build_training_model
from engines.tensor.models.gpt import GPT
from engines.training.evaluation import Targets, evaluate

pytestmark = needs_cuda

SWITCHED_OFF: list[dict[str, Any]] = [{"rotary": False}, {"qk_norm": False, "value_embeddings": False}]


def build_training_loss(model: GPT, settings: TrainSettings) -> Callable[[Tensor], Tensor]:
    """Return the loss that a learner with these settings computes."""
    config = resolve_device(settings)
    return compile_loss(build_training_model(model, config), config)


def enable_gradients(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Let `loss` score as a learner does: torch 2.11 compiles document masks wrongly without gradients."""

    def score(rows: Tensor) -> Tensor:
        with torch.enable_grad():
            return loss(rows).detach()

    return score


def compute_mean_loss_gradients(settings: TrainSettings) -> dict[str, Tensor]:
    """Return the gradient of the mean loss with respect to every parameter."""
    model = build_random_gpt(settings)
    model.requires_grad_()
    loss = build_training_loss(model, settings)
    rows = torch.tensor(random_rows(8, settings.context_length + 1, vocab_size=6), device="cuda")
    loss(rows).mean().backward()
    return {name: parameter.grad.double() for name, parameter in model.weights.items() if parameter.grad is not None}


@pytest.mark.parametrize("masks", MASKS, ids=name_switches)
@pytest.mark.parametrize("compile", ["off", "on", "regions"])
def test_fused_attention_masks_the_same_positions_as_plain_attention(masks: dict[str, Any], compile: str) -> None:
    plain, fused = cuda_gpt_settings(**masks, device="cpu"), cuda_gpt_settings(**masks, compile=compile)
    rows = random_rows(3, 161, vocab_size=6)  # about every sixth token starts a document
    expected = torch.tensor(score_rows(build_random_gpt(plain), rows))
    model = build_random_gpt(fused)
    if compile != "off":
        model.requires_grad_()  # as in a learner
        model.score_in_chunks(3, 161, enable_gradients(build_training_loss(model, fused)))
    assert torch.allclose(torch.tensor(score_rows(model, rows)), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("switches", [*MASKS, *SWITCHED_OFF], ids=name_switches)
@pytest.mark.parametrize("compile", ["on", "regions"])
def test_compiled_gradients_in_bfloat16_are_close_to_those_in_float64(switches: dict[str, Any], compile: str) -> None:
    torch._dynamo.reset()
    expected = compute_mean_loss_gradients(cuda_gpt_settings(**switches, dtype="float64"))
    rounded = compute_mean_loss_gradients(cuda_gpt_settings(**switches, dtype="bfloat16", compile=compile))
    for name, gradient in rounded.items():
        relative_error = (gradient - expected[name]).norm() / expected[name].norm()
        assert relative_error < 0.05, f"{name}: {relative_error:.3f}"  # at most 0.02 without compilation


def test_a_thousand_evaluations_compile_nothing_and_allocate_no_more_memory_than_one() -> None:
    settings = cuda_gpt_settings(compile="on")
    learner = build_tensor_learner(settings)
    learner.warm_up(random_batch(settings, seed=3))
    learner.step(random_batch(settings), StepHyperparameters(settings.lr))
    learner.wait()
    tokens = memoryview(random_batches(settings).batch(0).tokens)
    token_bytes = [1] * V

    def compute_loss() -> float:
        return evaluate(learner.model, Targets.of(tokens, token_bytes, 700), settings.context_length, lambda: None).loss

    graphs_before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    first = compute_loss()
    torch.cuda.synchronize()
    memory_before = torch.cuda.memory_allocated()
    for _ in range(1000):
        last = compute_loss()
    torch.cuda.synchronize()
    assert first == last
    assert torch.cuda.memory_allocated() == memory_before
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs_before
