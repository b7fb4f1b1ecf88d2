"""Layers without weights, and the linear layer.

The gradients of `rms_norm` and `relu2` are written out for eager code on a CPU, where torch's own read and write memory
two to four times as often. GPUs have kernels for them, and the compiler fuses them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

RMS_EPS = 1e-5  # of the models that the scalar engine has too


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return x (..., C) @ weight.T for weight (K, C), converted to the dtype of x."""
    weight = weight.to(x.dtype)
    if torch.compiler.is_compiling() and x.numel() == x.shape[-1]:
        # Of a single row the compiler fuses a sum with its neighbours; a matrix product is a launch of its own.
        summed = (to_accumulation_dtype(x).unsqueeze(-2) * to_accumulation_dtype(weight)).sum(-1)
        return summed.to(x.dtype)
    return x @ weight.T


def to_accumulation_dtype(x: Tensor) -> Tensor:
    """Return x in the dtype of losses and sums: float32, or float64 if x is."""
    return x if x.dtype == torch.float64 else x.float()


def tanh_softcap(logits: Tensor, softcap: float) -> Tensor:
    """Return softcap * tanh(logits / softcap) in float32 or float64; a softcap of 0 changes nothing."""
    logits = to_accumulation_dtype(logits)
    return softcap * torch.tanh(logits / softcap) if softcap else logits


def softcapped_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """Return the loss (N) of each target (N), in nats, for inputs of the head `hidden` (N, C) and `head` (Vp, C)."""
    logits = tanh_softcap((hidden @ head.T)[:, :vocab_size], softcap)
    return F.cross_entropy(logits, targets, reduction="none")


def apply_rotary_emb(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (B, T, heads, D) with each pair of channels (i, i + D / 2) rotated by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x²) + eps), over the last dimension."""
    if not _is_eager_cpu(x):
        return F.rms_norm(x, (x.shape[-1],), eps=eps)
    normed: Tensor = _RMSNorm.apply(x, eps)  # type: ignore[no-untyped-call]
    return normed


def relu2(x: Tensor) -> Tensor:
    """Return relu(x)²."""
    if not _is_eager_cpu(x):
        return F.relu(x).square()
    squared: Tensor = _ReLU2.apply(x)  # type: ignore[no-untyped-call]
    return squared


def _is_eager_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        exact = x if x.dtype == torch.float64 else x.float()
        scale = exact.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        normed = (exact * scale).to(x.dtype)
        ctx.save_for_backward(normed, scale)
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """scale * (g - normed * mean(g * normed))."""
        normed, scale = ctx.saved_tensors
        along = (gradient * normed).mean(-1, keepdim=True, dtype=scale.dtype).neg_().to(normed.dtype)
        return torch.addcmul(gradient, normed, along).mul_(scale.to(normed.dtype)), None


class _ReLU2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        relu = F.relu(x)
        ctx.save_for_backward(relu)
        return relu * relu

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """2 g relu(x), which is 0 where the relu is."""
        relu: Tensor = ctx.saved_tensors[0]
        return (gradient * relu).mul_(2.0)
