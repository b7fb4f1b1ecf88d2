"""Prepares a GPT for generation one token at a time, where the number of launches counts."""

import torch
from torch import Tensor, nn

from engines.tensor.models.gpt import GPT, Attention
from engines.tensor.models.layers import linear


def fuse_for_inference(model: GPT) -> GPT:
    """Return a copy with weights in the compute dtype, and with one matrix for queries, keys and values."""
    weights = {name: weight.detach().to(model.dtype) for name, weight in model.weights.items()}
    fused = GPT(model.settings, model.vocab_size, weights, model.config)
    for block in fused.layers:
        block.attention = FusedQKVAttention(block.attention)
    return fused


class FusedQKVAttention(Attention):
    """`Attention` with one product for queries, keys and values. Weights: qkv instead of q, k and v."""

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention.settings, attention.layer, dict(attention.named_parameters(recurse=False)))
        qkv = torch.cat([attention.q, attention.k, attention.v])
        del self.q, self.k, self.v
        self.qkv = nn.Parameter(qkv, requires_grad=False)

    def project_qkv(self, x: Tensor) -> tuple[Tensor, ...]:
        heads = linear(x, self.qkv).unflatten(2, (-1, self.head_size))
        parts: tuple[Tensor, ...] = heads.split(
            [self.settings.heads, self.settings.kv_heads, self.settings.kv_heads], dim=2
        )
        return parts
