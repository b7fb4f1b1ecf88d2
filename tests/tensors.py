"""Settings, models, learners and data for tests of the tensor engine."""

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

V = 50  # size of the vocabulary, which a gpt rounds up to 64

FLOAT64_CPU = {"mode": "tensor", "device": "cpu", "dtype": "float64", "threads": 1}
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


def gpt_settings(**overrides: Any) -> TrainSettings:
    """Return the settings of a tiny gpt in float64 on the CPU."""
    return resolve({**TINY_GPT, **FLOAT64_CPU, **overrides})


def build_tensor_learner(settings: TrainSettings, vocab_size: int = V) -> TensorLearner:
    learner = factory.create_learner(settings, vocab_size)
    assert isinstance(learner, TensorLearner)
    return learner


def build_random_gpt(settings: TrainSettings, vocab_size: int = V, seed: int = 1) -> GPT:
    """Build a gpt whose parameters are all random. Many initial ones are zero, which hides what they multiply."""
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


def randomize_weights(learner: TensorLearner, seed: int = 1) -> None:
    """Add noise to every parameter, so that none is zero."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.model.weights.values():
            parameter += 0.2 * torch.randn(parameter.shape, generator=random, dtype=torch.float64)


def random_rows(rows: int, length: int, vocab_size: int = V, seed: int = 1) -> list[list[int]]:
    random = torch.Generator().manual_seed(seed)
    tokens: list[list[int]] = torch.randint(vocab_size, (rows, length), generator=random).tolist()
    return tokens


def random_batches(settings: TrainSettings, vocab_size: int = V) -> Batches:
    """Return batches from a stream of random tokens."""
    (tokens,) = random_rows(1, 40 * settings.context_length, vocab_size, seed=7)
    stream = memoryview(array("H", tokens))
    return Batches(stream, settings.context_length, settings.batch_size, settings.seed)


def random_batch(settings: TrainSettings, vocab_size: int = V, seed: int = 1) -> Batch:
    return Batch.from_rows(random_rows(settings.batch_size, settings.context_length + 1, vocab_size, seed))


def state_bytes(learner: TensorLearner) -> dict[str, bytes]:
    """Return the bytes of a learner's weights, optimizer state and counters."""
    state = learner.state()
    arrays = {f"model {name}": array for name, array in state.model.items()}
    arrays |= {f"optimizer {name}": array for name, array in state.optimizer.items()}
    return {name: bytes(array.data) for name, array in arrays.items()} | {"counters": repr(state.counters).encode()}


def copy_gradients(learner: TensorLearner) -> dict[str, Tensor]:
    """Return copies of the gradients of the last step."""
    gradients = {}
    for name, parameter in learner.model.weights.items():
        assert parameter.grad is not None
        gradients[name] = parameter.grad.clone()
    return gradients


def copy_weights(learner: TensorLearner) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in learner.model.weights.items()}


def score_rows(model: LanguageModel, rows: list[list[int]]) -> list[list[float]]:
    """Return the loss of each token, in nats, of each row."""
    return list(model.score(rows))
