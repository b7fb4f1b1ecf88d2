"""Settings and learners for tests of the tensor engine that need a CUDA GPU: `pytest -m cuda`."""

from typing import Any

import pytest
import torch
from tensors import TINY_GPT, build_tensor_learner, random_batches

from engines.data.batches import Batches
from engines.interfaces import StepResult
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.tensor.trainer import TensorLearner
from engines.training.schedules import compute_at_step

needs_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU"),
    pytest.mark.filterwarnings("default"),  # warnings of the compiler are no errors of this program
]
needs_hopper = pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability()[0] != 9,
    reason="these kernels need a Hopper GPU",
)

CUDA = {"mode": "tensor", "device": "cuda", "dtype": "float32", "compile": "off"}
MASKS: list[dict[str, Any]] = [
    {},
    {"window_pattern": "S", "window": 3},
    {"window_pattern": "SL", "window": 40, "document_mask": True, "kv_heads": 2},
    {"document_mask": True},
]


def name_switches(switches: dict[str, Any]) -> str:
    """Return the id of a test with these switches."""
    return "-".join(switches) or "causal"


def cuda_gpt_settings(**overrides: Any) -> TrainSettings:
    """Return the settings of a small gpt in float32 on CUDA, not compiled."""
    return resolve({**TINY_GPT, "context_length": 160, "width": 64, **CUDA, **overrides})


def train_steps(
    learner: TensorLearner, batches: Batches, settings: TrainSettings, steps: range, waits_for_each: bool = False
) -> list[float]:
    """Take these steps at the peak learning rate. Return the loss of each."""
    for step in steps:
        hyperparameters = compute_at_step(step, settings, settings.steps)._replace(lr=settings.lr)
        learner.step(batches.batch(step * settings.batch_size), hyperparameters)
        if waits_for_each:
            learner.wait()
    learner.wait()
    results: list[StepResult] = learner.pop_results()
    return [result.loss for result in results]


def train_from_start(settings: TrainSettings, steps: int) -> list[float]:
    """Return the losses of the first steps of a run."""
    learner, batches = build_tensor_learner(settings), random_batches(settings)
    learner.warm_up(batches.batch(0))
    return train_steps(learner, batches, settings, range(steps))
