"""Builds the tensor engine's models and learners from settings."""

import torch
from torch import Tensor

from engines.interfaces import Array, LanguageModel, Learner
from engines.scalar import factory as scalar
from engines.settings.train import TrainSettings
from engines.tensor.arrays import to_tensor
from engines.tensor.devices import Place, place
from engines.tensor.fast import precompile as kernels_ahead
from engines.tensor.micro_batch import MicroBatch
from engines.tensor.models import gpt
from engines.tensor.models.base import Bigram, MiniGPT, Parameters, TensorModel
from engines.tensor.optim.param_groups import optimizer_of
from engines.tensor.trainer import TensorLearner


def new_learner(settings: TrainSettings, vocab_size: int) -> Learner:
    where = place(settings)
    kernels_ahead.begin(settings, vocab_size, where)
    initial = _initial_parameters(settings, vocab_size)
    optimizer = optimizer_of(settings, initial, where)
    views = optimizer.parameters()
    speaks_little = where._replace(compiled=False)  # the learner compiles training; for a sample it does not pay
    model = _model(settings, {name: views[name] for name in initial}, speaks_little, vocab_size)
    micro_batch = MicroBatch(settings, vocab_size, where)
    return TensorLearner(model, optimizer, settings, where, micro_batch)


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel:
    where = place(settings)
    held = {name: to_tensor(array).to(where.device, where.weights) for name, array in weights.items()}
    return _model(settings, held, where, vocab_size)


def _initial_parameters(settings: TrainSettings, vocab_size: int) -> dict[str, Tensor]:
    if settings.model_kind == "gpt":
        return gpt.initial_parameters(settings, vocab_size)
    nodes = scalar.init_parameters(settings, vocab_size)
    return {name: torch.tensor(node.data, dtype=torch.float64) for name, node in nodes.items()}


def _model(settings: TrainSettings, parameters: Parameters, where: Place, vocab_size: int) -> TensorModel:
    if settings.model_kind == "bigram":
        return Bigram(parameters, where, settings.input_rmsnorm)
    if settings.model_kind == "mini-gpt":
        return MiniGPT(parameters, where, settings.heads, settings.input_rmsnorm, settings.final_rmsnorm)
    return gpt.GPT(parameters, where, settings, vocab_size)
