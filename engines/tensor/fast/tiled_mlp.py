"""What follows attention in a block: its result is added to the stream, whose norm a ReLU² MLP reads.

Where `engines.tensor.devices.multiplies_by_tiles`: the sum, the factor that norms a row, and the activation are inside
the products around them, forwards and backwards. Neither the norm is kept nor what was squared, which is a root.
"""

from typing import Any

import torch
from torch import Tensor


def add_product(x: Tensor, a: Tensor, weights: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x + a weights' (..., C) of a (..., K) and weights (C, K), in bfloat16; and the factor (...) that norms each row,
    in float32, without a gradient: `relu2_mlp` sees to that."""
    added, sums = _add_product(x.flatten(0, -2), a.flatten(0, -2), weights)
    factors = torch.rsqrt(sums.detach().sum(0) / x.shape[-1] + eps)
    return added.view(x.shape), factors.view(x.shape[:-1])


def relu2_mlp(x: Tensor, factors: Tensor, fc: Tensor, proj: Tensor) -> Tensor:
    """relu(n fc')² proj' (..., C) of x (..., C), with n = x times the `factors` (...) that norm it; fc (H, C) and
    proj (C, H) are in bfloat16 as well."""
    rows: Tensor = _relu2_mlp(x.flatten(0, -2), factors.flatten(), fc, proj)[0]
    return rows.view(x.shape)


# --- a product that is added --------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::add_product", mutates_args=())
def _add_product(x: Tensor, a: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (N, C), and sums (tiles, N) of their squares."""
    from engines.tensor.kernels.tiled_matmul import sums  # needs triton

    return sums(a, weights, x)


@_add_product.register_fake
def _(x: Tensor, a: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    from engines.tensor.kernels.tiled_matmul import tiles

    return torch.empty_like(x), x.new_empty(tiles(len(weights)), len(x), dtype=torch.float32)


def _keep_factors(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[1:])


def _multiply_back(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor, Tensor, Tensor]:
    a, weights = ctx.saved_tensors
    return gradient, gradient @ weights, gradient.T @ a


_add_product.register_autograd(_multiply_back, setup_context=_keep_factors)


# --- the MLP ------------------------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::relu2_mlp", mutates_args=())
def _relu2_mlp(x: Tensor, factors: Tensor, fc: Tensor, proj: Tensor) -> tuple[Tensor, Tensor]:
    """Of rows x (N, C), and the squares (N, H)."""
    from engines.tensor.kernels.tiled_matmul import squares

    squared = squares(x, fc, factors)
    return squared @ proj.T, squared


@_relu2_mlp.register_fake
def _(x: Tensor, factors: Tensor, fc: Tensor, proj: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(len(x), len(fc))


@torch.library.custom_op("nanochat_tui::relu2_slopes", mutates_args=())
def _slopes(gradient: Tensor, back: Tensor, factors: Tensor, squared: Tensor) -> Tensor:
    """The gradient (N, H) by what was squared, times the factors, from the one (N, C) by the MLP's result; `back` is
    proj' as rows."""
    from engines.tensor.kernels.tiled_matmul import slopes

    return slopes(gradient, back, factors, squared)


@_slopes.register_fake
def _(gradient: Tensor, back: Tensor, factors: Tensor, squared: Tensor) -> Tensor:
    return torch.empty_like(squared)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, output[1])


def _backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    """With n = f x, f = 1 / sqrt(mean(x²) + eps) and g the gradient by n, the one by x is f g - x f² mean(f g x)."""
    x, factors, fc, proj, squared = ctx.saved_tensors
    by_product = _slopes(gradient, proj.T.contiguous(), factors, squared)
    by_normed = (by_product @ fc).float()
    along = (by_normed * x).mean(1) * factors.square()
    by_x = by_normed - x * along.unsqueeze(1)
    return by_x.to(x.dtype), None, by_product.T @ x, gradient.T @ squared


_relu2_mlp.register_autograd(_backward, setup_context=_keep)
