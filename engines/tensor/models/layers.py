"""Layers without weights, and the linear layer. Eager code on a CPU has functions of its own for them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.tensor.models import cpu_attention, cpu_functions

RMS_EPS = 1e-5  # of the models that the scalar engine has too


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return x (..., C) @ weight.T for weight (K, C), converted to the dtype of x."""
    if _is_eager_cpu(x):
        product: Tensor = cpu_functions.Linear.apply(x, weight)  # type: ignore[no-untyped-call]
        return product
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
    if _is_eager_cpu(x):
        rotated: Tensor = cpu_functions.RotaryEmb.apply(x, cos, sin)  # type: ignore[no-untyped-call]
        return rotated
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x²) + eps), over the last dimension."""
    if not _is_eager_cpu(x):
        return F.rms_norm(x, (x.shape[-1],), eps=eps)
    normed: Tensor = cpu_functions.RMSNorm.apply(x, eps)  # type: ignore[no-untyped-call]
    return normed


def relu2(x: Tensor) -> Tensor:
    """Return relu(x)²."""
    if not _is_eager_cpu(x):
        return F.relu(x).square()
    squared: Tensor = cpu_functions.ReLU2.apply(x)  # type: ignore[no-untyped-call]
    return squared


def scale(scalar: Tensor, x: Tensor) -> Tensor:
    """Return scalar * x for a scalar () that is a parameter."""
    if not _is_eager_cpu(x):
        return scalar * x
    scaled: Tensor = cpu_functions.ScaleByParameter.apply(scalar, x)  # type: ignore[no-untyped-call]
    return scaled


def scaled_sum(a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """Return a * x + b * y for scalars () that are parameters."""
    if not _is_eager_cpu(x):
        return a * x + b * y
    total: Tensor = cpu_functions.ScaledSum.apply(a, x, b, y)  # type: ignore[no-untyped-call]
    return total


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return attention outputs (B, heads, T, D) for q (B, heads, T, D), k and v (B, kv_heads, S, D).

    `mask` is a boolean (T, S) or (B, 1, T, S), true where a query sees a key; without one, attention is causal.
    """
    if _is_eager_cpu(q) and cpu_attention.is_faster(q, k.shape[2]):
        return cpu_attention.attend(q, k, v, mask)
    is_grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=is_grouped)


def _is_eager_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
