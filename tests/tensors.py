"""Builds what tests of the tensor engine begin with: tiny settings, and models in which every part matters."""

from array import array
from typing import Any

import torch
from torch import Tensor

from engines.cost.parameter_shapes import parameter_shapes
from engines.data.batches import Batches
from engines.interfaces import Batch, LanguageModel
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.tensor import factory
from engines.tensor.devices import resolve_device
from engines.tensor.models.gpt import GPT
from engines.tensor.trainer import TensorLearner

V = 50  # tokens of a gpt's vocabulary, which is rounded up to 64

EXACT = {"mode": "tensor", "device": "cpu", "dtype": "float64", "threads": 1}
TINY_GPT = {
    "model_kind": "gpt", "tokenizer": "char", "layers": 3, "width": 16, "heads": 4, "context_length": 12,
    "batch_size": 4, "steps": 40,
}  # fmt: skip

SWITCHES: list[dict[str, Any]] = [
    {},
    {"smear": False, "rotary": False},
    {"document_mask": True},
    {"window_pattern": "S", "window": 3},
    {"window_pattern": "SL", "window": 2, "document_mask": True, "kv_heads": 2},
    {"kv_heads": 1, "value_embeddings": False, "qk_norm": False},
    {"tie_lm_head": True, "input_rmsnorm": False, "final_rmsnorm": False, "softcap": 0.0, "activation": "gelu"},
    {"residual_scalars": False, "embedding_scalars": False, "backout": False, "activation": "relu"},
]  # each part of the gpt is on in some of them and off in others


def exact_gpt(**given: Any) -> TrainSettings:
    return resolve({**TINY_GPT, **EXACT, **given})


def learner_of(settings: TrainSettings, vocab_size: int = V) -> TensorLearner:
    learner = factory.create_learner(settings, vocab_size)
    assert isinstance(learner, TensorLearner)
    return learner


def awake_gpt(settings: TrainSettings, vocab_size: int = V, seed: int = 1) -> GPT:
    """A gpt whose parameters are all random: when training begins many are zero, and hide what they multiply."""
    random = torch.Generator().manual_seed(seed)
    shapes = parameter_shapes(settings, vocab_size)
    config = resolve_device(settings)
    weights = {
        name: torch.randn(shape, generator=random, dtype=torch.float64).mul(
            0.7 * shape[-1] ** -0.5 if "." in name else 0.7
        )
        for name, shape in shapes.items()
    }
    on_device = {name: weight.to(config.device, config.weight_dtype) for name, weight in weights.items()}
    model = factory.build_model(settings, vocab_size, on_device, config)
    assert isinstance(model, GPT)
    return model


def wake(learner: TensorLearner, seed: int = 1) -> None:
    """Give every parameter random numbers, of the size of what training ends with."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.model.weights.values():
            parameter += 0.2 * torch.randn(parameter.shape, generator=random, dtype=torch.float64)


def some_rows(rows: int, length: int, vocab_size: int = V, seed: int = 1) -> list[list[int]]:
    random = torch.Generator().manual_seed(seed)
    found: list[list[int]] = torch.randint(vocab_size, (rows, length), generator=random).tolist()
    return found


def some_batches(settings: TrainSettings, vocab_size: int = V) -> Batches:
    """Batches out of a stream of random tokens."""
    (tokens,) = some_rows(1, 40 * settings.context_length, vocab_size, seed=7)
    stream = memoryview(array("H", tokens))
    return Batches(stream, settings.context_length, settings.batch_size, settings.seed)


def batch_of(settings: TrainSettings, vocab_size: int = V, seed: int = 1) -> Batch:
    return Batch.from_rows(some_rows(settings.batch_size, settings.context_length + 1, vocab_size, seed))


def bits_of(learner: TensorLearner) -> dict[str, bytes]:
    """All that a learner is made of, bit for bit."""
    state = learner.state()
    arrays = {f"model {name}": array for name, array in state.model.items()}
    arrays |= {f"optimizer {name}": array for name, array in state.optimizer.items()}
    return {name: bytes(array.data) for name, array in arrays.items()} | {"counters": repr(state.counters).encode()}


def gradients_of(learner: TensorLearner) -> dict[str, Tensor]:
    """Copies of the last step's gradients."""
    found = {}
    for name, parameter in learner.model.weights.items():
        assert parameter.grad is not None
        found[name] = parameter.grad.clone()
    return found


def weights_of(learner: TensorLearner) -> dict[str, Tensor]:
    """Copies of the weights."""
    return {name: parameter.detach().clone() for name, parameter in learner.model.weights.items()}


def nats_of(model: LanguageModel, rows: list[list[int]]) -> list[list[float]]:
    return list(model.score(rows))
