"""Functions with hand-written gradients for eager code on a CPU.

torch's own read and write memory two to four times as often, and multiply float32 at half the speed on AMD processors.
GPUs have kernels for these functions, and the compiler fuses them. No result
depends on the number of threads.
"""

from typing import Any

import torch
from torch import Tensor

_SUM_CHUNK = 2**12  # elements that one thread sums; torch splits longer sums into as many parts as there are threads
_MIN_ONEDNN_ROWS = 16  # a product of fewer rows reads the matrix once and computes little

_onednn_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def multiply(x: Tensor, weight: Tensor) -> Tensor:
    """Return x (M, C) @ weight.T for weight (K, C) of the same dtype."""
    if _onednn_linear is None or x.dtype != torch.float32 or len(x) < _MIN_ONEDNN_ROWS:
        return x @ weight.T
    product: Tensor = _onednn_linear(x, weight, None, "none", [], "")  # twice as fast as MKL on an AMD EPYC
    return product


def sum_all(x: Tensor) -> Tensor:
    """Return the sum of all elements, in float32 at least and in an order that no number of threads changes."""
    flat = x.flatten()
    dtype = torch.promote_types(x.dtype, torch.float32)
    whole = len(flat) // _SUM_CHUNK * _SUM_CHUNK
    chunks = flat[:whole].view(-1, _SUM_CHUNK).sum(1, dtype=dtype)
    rest = flat[whole:].sum(dtype=dtype)
    return rest + (chunks.sum() if len(chunks) < _SUM_CHUNK else sum_all(chunks))


class Linear(torch.autograd.Function):
    """x (..., C) @ weight.T for weight (K, C), converted to the dtype of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        rows, converted = x.reshape(-1, x.shape[-1]), weight.to(x.dtype)
        ctx.save_for_backward(rows, converted)
        ctx.weight_dtype = weight.dtype
        return multiply(rows, converted).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad
        flat = gradient.reshape(-1, gradient.shape[-1])
        x_grad = multiply(flat, weight.T).view(*gradient.shape[:-1], -1) if needs_x else None
        weight_grad = multiply_transposed(flat, rows).to(ctx.weight_dtype) if needs_weight else None
        return x_grad, weight_grad


def multiply_transposed(gradient: Tensor, x: Tensor) -> Tensor:
    """Return gradient.T @ x for gradient (M, K) and x (M, C). In float32 a result with fewer rows is faster."""
    if gradient.dtype == torch.float32 and gradient.shape[1] > x.shape[1]:
        return multiply(x.T, gradient.T).T
    return multiply(gradient.T, x.T)


class RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x²) + eps), over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        normed, factors = normalize(x, eps)
        ctx.save_for_backward(normed, factors)
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return normalize_gradient(gradient, *ctx.saved_tensors), None


def normalize(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return x / sqrt(mean(x²) + eps), over the last dimension, and the factor of each row in float32 or float64."""
    exact = x if x.dtype == torch.float64 else x.float()
    factors = exact.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    return (exact * factors).to(x.dtype), factors


def normalize_gradient(gradient: Tensor, normed: Tensor, factors: Tensor) -> Tensor:
    """Return the gradient of x, given that of `normalize`'s result: factor * (g - normed * mean(g * normed))."""
    along = (gradient * normed).mean(-1, keepdim=True, dtype=factors.dtype).neg_().to(normed.dtype)
    return torch.addcmul(gradient, normed, along).mul_(factors.to(normed.dtype))


class ReLU2(torch.autograd.Function):
    """relu(x)²."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        relu = x.relu()
        ctx.save_for_backward(relu)
        return relu * relu

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """2 g relu(x), which is 0 where the relu is."""
        relu: Tensor = ctx.saved_tensors[0]
        return (gradient * relu).mul_(2.0)


class ScaleByParameter(torch.autograd.Function):
    """scalar * x, for a scalar () that is a parameter."""

    @staticmethod
    def forward(ctx: Any, scalar: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(scalar, x)
        return scalar * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        scalar, x = ctx.saved_tensors
        return _scalar_gradient(gradient, x, scalar), scalar * gradient


class ScaledSum(torch.autograd.Function):
    """a * x + b * y, for scalars () that are parameters."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(a, x, b, y)
        return torch.addcmul(a * x, b, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        a, x, b, y = ctx.saved_tensors
        return _scalar_gradient(gradient, x, a), a * gradient, _scalar_gradient(gradient, y, b), b * gradient


def _scalar_gradient(gradient: Tensor, x: Tensor, scalar: Tensor) -> Tensor:
    return sum_all(gradient * x).to(scalar.dtype).view(scalar.shape)


class RotaryEmb(torch.autograd.Function):
    """Each pair of channels (i, i + D / 2) of x (B, T, heads, D) rotated by an angle; cos and sin (..., D / 2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate(gradient, cos, -sin), None, None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (B, T, heads, D) with each pair of channels rotated."""
    # tables as large as a row of x, so that the products read contiguous memory
    cos, sin = _expand(torch.cat((cos, cos), -1), x), _expand(torch.cat((sin, -sin), -1), x)
    first, second = x.chunk(2, -1)
    return torch.addcmul(x * cos, torch.cat((second, first), -1), sin)


def _expand(table: Tensor, x: Tensor) -> Tensor:
    return table.expand(*table.shape[:-2], *x.shape[-2:]).contiguous()
