"""Builds the tensor engine's models and learners from settings."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from engines.cpu_inference.load import load_model as load_on_cpu
from engines.interfaces import Array, LanguageModel, Learner
from engines.scalar import factory as scalar
from engines.settings.train import TrainSettings
from engines.tensor.arrays import to_tensor
from engines.tensor.devices import DeviceConfig, resolve_device
from engines.tensor.fast import precompile
from engines.tensor.fast.apply import use_fused_loss_on_cpu
from engines.tensor.inference.cpu_decoder import make_cpu_decoder
from engines.tensor.inference.decoder import CachedDecoding
from engines.tensor.micro_batch import MicroBatch
from engines.tensor.models.base import TensorModel
from engines.tensor.models.bigram import Bigram
from engines.tensor.models.gpt import GPT, initial_weights
from engines.tensor.models.mini_gpt import MiniGPT
from engines.tensor.optim.param_groups import build_optimizer
from engines.tensor.trainer import TensorLearner


def create_learner(settings: TrainSettings, vocab_size: int) -> Learner:
    """Return a learner with initial weights. Raises UserError if a setting is not available on this machine."""
    config = resolve_device(settings)
    precompile.start(settings, vocab_size, config)
    initial = _initial_weights(settings, vocab_size)
    optimizer = build_optimizer(settings, initial, config)
    parameters = optimizer.parameters()
    weights = {name: parameters[name] for name in initial}
    # training is compiled by the learner; for an occasional sample, compilation does not pay
    model = build_model(settings, vocab_size, weights, config._replace(is_compiled=False))
    return TensorLearner(model, optimizer, settings, config, MicroBatch(settings, vocab_size, config))


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel:
    """Return a model with the weights of a checkpoint. Raises UserError as `create_learner`."""
    config = resolve_device(settings)
    if config.device.type == "cpu":
        return load_on_cpu(settings, vocab_size, weights)
    tensors = {name: to_tensor(array).to(config.device, config.weight_dtype) for name, array in weights.items()}
    return build_model(settings, vocab_size, tensors, config)


def build_model(
    settings: TrainSettings, vocab_size: int, weights: Mapping[str, Tensor], config: DeviceConfig
) -> TensorModel:
    """Return a model with these weights, by checkpoint name."""
    model = _build_plain_model(settings, vocab_size, weights, config)
    if isinstance(model, GPT):
        model.make_decoder = CachedDecoding()
        model.compiles_decoding = config.is_compiled and config.device.type == "cuda"
        use_fused_loss_on_cpu(model)
    if config.device.type == "cpu":
        model.make_decoder = partial(make_cpu_decoder, settings, vocab_size)
    return model


def _build_plain_model(
    settings: TrainSettings, vocab_size: int, weights: Mapping[str, Tensor], config: DeviceConfig
) -> TensorModel:
    if settings.model_kind == "bigram":
        return Bigram(weights, config, settings.input_rmsnorm)
    if settings.model_kind == "mini-gpt":
        return MiniGPT(weights, config, settings.heads, settings.input_rmsnorm, settings.final_rmsnorm)
    return GPT(settings, vocab_size, weights, config)


def _initial_weights(settings: TrainSettings, vocab_size: int) -> dict[str, Tensor]:
    if settings.model_kind == "gpt":
        return initial_weights(settings, vocab_size)
    nodes = scalar.init_parameters(settings, vocab_size)
    return {name: torch.tensor(node.data, dtype=torch.float64) for name, node in nodes.items()}
