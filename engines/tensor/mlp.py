"""A ReLU² MLP whose activation, and its gradient, are inside the products around it.

Where `engines.tensor.devices.multiplies_by_tiles`. It keeps the squares alone for the backward pass: what was squared
is their root.
"""

from typing import Any

import torch
from torch import Tensor


def relu2_mlp(x: Tensor, fc: Tensor, proj: Tensor) -> Tensor:
    """relu(x fc')² proj' (..., C) of x (..., C), fc (H, C) and proj (C, H), all in bfloat16."""
    rows: Tensor = _relu2_mlp(x.flatten(0, -2), fc, proj)[0]
    return rows.view(x.shape)


@torch.library.custom_op("nanochat_tui::relu2_mlp", mutates_args=())
def _relu2_mlp(x: Tensor, fc: Tensor, proj: Tensor) -> tuple[Tensor, Tensor]:
    """Of rows x (N, C), and the squares (N, H)."""
    from engines.tensor.product_kernel import squares  # needs triton

    squared = squares(x, fc)
    return squared @ proj.T, squared


@_relu2_mlp.register_fake
def _(x: Tensor, fc: Tensor, proj: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(len(x), len(fc))


@torch.library.custom_op("nanochat_tui::relu2_slopes", mutates_args=())
def _slopes(gradient: Tensor, proj: Tensor, squared: Tensor) -> Tensor:
    """The gradient (N, H) by what was squared, from the one (N, C) by the MLP's result."""
    from engines.tensor.product_kernel import slopes

    return slopes(gradient, proj.T, squared)


@_slopes.register_fake
def _(gradient: Tensor, proj: Tensor, squared: Tensor) -> Tensor:
    return torch.empty_like(squared)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, output[1])


def _backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor, Tensor, Tensor]:
    x, fc, proj, squared = ctx.saved_tensors
    by_product = _slopes(gradient, proj, squared)
    return by_product @ fc, by_product.T @ x, gradient.T @ squared


_relu2_mlp.register_autograd(_backward, setup_context=_keep)
