"""microgpt's GPT on tensors: learned positions, pre-norm blocks, causal attention, a ReLU² MLP, no biases.

The numbers are those of `engines.scalar.models`, whose formulas follow karpathy's microgpt.
"""

from collections.abc import Mapping
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from engines.tensor.devices import DeviceConfig
from engines.tensor.models.base import TensorModel
from engines.tensor.models.layers import RMS_EPS, attend, linear, relu2, rms_norm, to_accumulation_dtype


class MiniGPT(TensorModel):
    """A small GPT. Weights: wte (V, C), wpe (context_length, C), head (V, C) unless tied, and those of `MiniBlock`."""

    def __init__(
        self, weights: Mapping[str, Tensor], config: DeviceConfig, heads: int, input_rmsnorm: bool, final_rmsnorm: bool
    ) -> None:
        super().__init__(weights, config)
        self.wte, self.wpe = self.weights["wte"], self.weights["wpe"]
        self.head = self.weights.get("head", self.wte)
        self.context_length = len(self.wpe)
        self.input_rmsnorm, self.final_rmsnorm = input_rmsnorm, final_rmsnorm
        layers = sum(name.endswith(".wq") for name in self.weights)
        self.blocks = nn.ModuleList(MiniBlock(self.layer_weights(layer), heads) for layer in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, T, V) of the token after each of `tokens` (B, T)."""
        x = F.embedding(tokens, self.wte.to(self.dtype))  # (B, T, C)
        x = x + self.wpe.to(self.dtype)[: tokens.shape[1]]
        if self.input_rmsnorm:
            x = rms_norm(x, RMS_EPS)
        for block in self.layers:
            x = block(x)  # (B, T, C)
        if self.final_rmsnorm:
            x = rms_norm(x, RMS_EPS)
        return to_accumulation_dtype(linear(x, self.head))

    @property
    def layers(self) -> list["MiniBlock"]:
        """The blocks, with their type."""
        return [cast(MiniBlock, block) for block in self.blocks]


class MiniBlock(nn.Module):
    """Causal self-attention and a ReLU² MLP. Weights: wq, wk, wv, wo (C, C), fc1 (4C, C), fc2 (C, 4C)."""

    def __init__(self, weights: Mapping[str, nn.Parameter], heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.wq, self.wk, self.wv, self.wo = (weights[name] for name in ("wq", "wk", "wv", "wo"))
        self.fc1, self.fc2 = weights["fc1"], weights["fc2"]

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual stream (B, T, C) after this layer."""
        x = x + linear(self.attend(rms_norm(x, RMS_EPS)), self.wo)
        h = relu2(linear(rms_norm(x, RMS_EPS), self.fc1))  # (B, T, 4C)
        return x + linear(h, self.fc2)

    def attend(self, x: Tensor) -> Tensor:
        """Return the heads' outputs (B, T, C)."""
        q, k, v = (
            linear(x, weight).unflatten(2, (self.heads, -1)).transpose(1, 2) for weight in (self.wq, self.wk, self.wv)
        )  # (B, heads, T, D)
        return attend(q, k, v).transpose(1, 2).flatten(2)
