"""Generates with a model in training on a CPU, as with one that was loaded."""

from collections.abc import Sequence

from engines.cpu_inference.factory import build_model
from engines.interfaces import Decoder, TokenIds
from engines.settings.train import TrainSettings
from engines.tensor.models.base import TensorModel


def make_cpu_decoder(
    settings: TrainSettings, vocab_size: int, model: TensorModel, prompts: Sequence[TokenIds]
) -> Decoder:
    """Return a decoder that uses the model's current weights, and needs them unchanged while it generates."""
    weights = {name: weight.detach().numpy() for name, weight in model.weights.items()}
    return build_model(settings, vocab_size, weights).decoder(prompts)
