"""The bigram model on tensors: logits = rms_norm?(E[token]) @ head.T, as in `engines.scalar.models`."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from engines.tensor.devices import DeviceConfig
from engines.tensor.models.base import TensorModel
from engines.tensor.models.layers import RMS_EPS, linear, rms_norm, to_accumulation_dtype


class Bigram(TensorModel):
    """A table of logits by the previous token. Weights: embedding (V, V), and head (V, V) unless tied."""

    context_length = 1

    def __init__(self, weights: Mapping[str, Tensor], config: DeviceConfig, input_rmsnorm: bool) -> None:
        super().__init__(weights, config)
        self.embedding = self.weights["embedding"]
        self.head = self.weights.get("head", self.embedding)
        self.input_rmsnorm = input_rmsnorm

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, T, V) of the token after each of `tokens` (B, T)."""
        h = F.embedding(tokens, self.embedding.to(self.dtype))  # (B, T, V)
        if self.input_rmsnorm:
            h = rms_norm(h, RMS_EPS)
        return to_accumulation_dtype(linear(h, self.head))
