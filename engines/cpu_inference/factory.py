"""Builds the models from settings and the weights of a checkpoint."""

from collections.abc import Mapping

import numpy as np

from engines.cpu_inference.bigram import NumpyBigram
from engines.cpu_inference.gpt import NumpyGPT
from engines.cpu_inference.layers import Floats
from engines.cpu_inference.mini_gpt import NumpyMiniGPT
from engines.cpu_inference.model import NumpyModel
from engines.interfaces import Array
from engines.settings.train import TrainSettings

_DTYPES = {"F64": np.float64, "F32": np.float32}


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> NumpyModel:
    """Return a model with the weights of a checkpoint, which it computes with: in float32, or float64 if they are."""
    return build_model(settings, vocab_size, {name: _to_numpy(array) for name, array in weights.items()})


def build_model(settings: TrainSettings, vocab_size: int, weights: Mapping[str, Floats]) -> NumpyModel:
    """Return a model with these weights, by checkpoint name."""
    if settings.model_kind == "bigram":
        return NumpyBigram(weights, settings.input_rmsnorm)
    if settings.model_kind == "mini-gpt":
        return NumpyMiniGPT(weights, settings.heads, settings.input_rmsnorm, settings.final_rmsnorm)
    return NumpyGPT(settings, vocab_size, weights)


def _to_numpy(array: Array) -> Floats:
    return np.frombuffer(array.data, _DTYPES[array.dtype]).reshape(array.shape)
