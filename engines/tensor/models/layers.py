"""Formulas whose gradients are written out for code that a processor runs uncompiled: torch's own pass over the numbers
two to four times as often. GPUs have kernels for them, and the compiler fuses them by itself.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def rmsnorm(x: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps), over the last dimension."""
    if not _is_plain(x):
        return F.rms_norm(x, (x.shape[-1],), eps=eps)
    normed: Tensor = _RMSNorm.apply(x, eps)  # type: ignore[no-untyped-call]
    return normed


def relu2(x: Tensor) -> Tensor:
    """relu(x)²."""
    if not _is_plain(x):
        return F.relu(x).square()
    squared: Tensor = _ReLU2.apply(x)  # type: ignore[no-untyped-call]
    return squared


def _is_plain(x: Tensor) -> bool:
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
