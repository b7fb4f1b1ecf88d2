"""The second half of a block with fused kernels: residual addition, RMS norm and ReLU² MLP.

The addition, the norm's factor of each row and the activation are epilogues of the products next to them, in the
forward and the backward pass. Neither the normalised rows nor the activation's input, a square root, are stored.
Needs `engines.tensor.devices.has_tiled_matmul`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from engines.tensor.models.gpt import NORM_EPS, Block, LayerInputs, scale_residual
from engines.tensor.models.layers import rms_norm


class TiledBlock(Block):
    """`Block` with fused kernels. It has the same weights."""

    def __init__(self, block: Block) -> None:
        nn.Module.__init__(self)
        self.attention, self.mlp = block.attention, block.mlp

    def forward(self, x: Tensor, residual_scale: Tensor | None, x0_scale: Tensor | None, inputs: LayerInputs) -> Tensor:
        x = scale_residual(x, residual_scale, x0_scale, inputs.x0)
        heads = self.attention.mix_heads(rms_norm(x, NORM_EPS), inputs)  # (B, T, C)
        o, fc, proj = (weight.to(x.dtype) for weight in (self.attention.o, self.mlp.fc, self.mlp.proj))
        x, norm_factors = add_linear(x, heads, o, NORM_EPS)
        return x + relu2_mlp(x, norm_factors, fc, proj)


def add_linear(x: Tensor, a: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return x + a @ weight.T (..., C), for a (..., K) and weight (C, K), in bfloat16, and the factor (...) of each
    row's RMS norm, in float32. The factor has no gradient: `relu2_mlp` includes it.
    """
    added, sums = _add_linear(x.flatten(0, -2), a.flatten(0, -2), weight)
    norm_factors = torch.rsqrt(sums.detach().sum(0) / x.shape[-1] + eps)
    return added.view(x.shape), norm_factors.view(x.shape[:-1])


def relu2_mlp(x: Tensor, norm_factors: Tensor, fc: Tensor, proj: Tensor) -> Tensor:
    """Return relu(n @ fc.T)² @ proj.T (..., C) with n = x * norm_factors, for x (..., C), norm_factors (...), fc (H, C)
    and proj (C, H), in bfloat16."""
    rows: Tensor = _relu2_mlp(x.flatten(0, -2), norm_factors.flatten(), fc, proj)[0]
    return rows.view(x.shape)


# --- residual addition --------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::add_linear", mutates_args=())
def _add_linear(x: Tensor, a: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (N, C), and sums (tiles, N) of their squares."""
    from engines.tensor.kernels.tiled_matmul import add_matmul  # needs triton

    return add_matmul(a, weight, x)


@_add_linear.register_fake
def _(x: Tensor, a: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    from engines.tensor.kernels.tiled_matmul import count_column_tiles

    return torch.empty_like(x), x.new_empty(count_column_tiles(len(weight)), len(x), dtype=torch.float32)


def _save_linear(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[1:])


def _linear_backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor, Tensor, Tensor]:
    a, weights = ctx.saved_tensors
    return gradient, gradient @ weights, gradient.T @ a


_add_linear.register_autograd(_linear_backward, setup_context=_save_linear)


# --- the MLP ------------------------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::relu2_mlp", mutates_args=())
def _relu2_mlp(x: Tensor, factors: Tensor, fc: Tensor, proj: Tensor) -> tuple[Tensor, Tensor]:
    """Return the MLP of rows x (N, C), and the squares (N, H)."""
    from engines.tensor.kernels.tiled_matmul import relu2_matmul

    squared = relu2_matmul(x, fc, factors)
    return squared @ proj.T, squared


@_relu2_mlp.register_fake
def _(x: Tensor, factors: Tensor, fc: Tensor, proj: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(len(x), len(fc))


@torch.library.custom_op("nanochat_tui::relu2_gradient", mutates_args=())
def _relu2_gradient(gradient: Tensor, proj_t: Tensor, factors: Tensor, squared: Tensor) -> Tensor:
    """Return the gradient (N, H) by the activation's input, times the factors, from that (N, C) by the MLP's result;
    `proj_t` (H, C) is proj.T, contiguous."""
    from engines.tensor.kernels.tiled_matmul import relu2_gradient_matmul

    return relu2_gradient_matmul(gradient, proj_t, factors, squared)


@_relu2_gradient.register_fake
def _(gradient: Tensor, proj_t: Tensor, factors: Tensor, squared: Tensor) -> Tensor:
    return torch.empty_like(squared)


def _save_mlp(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs, output[1])


def _mlp_backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    """With n = f x, f = 1 / sqrt(mean(x²) + eps) and g the gradient by n, the one by x is f g - x f² mean(f g x)."""
    x, factors, fc, proj, squared = ctx.saved_tensors
    by_product = _relu2_gradient(gradient, proj.T.contiguous(), factors, squared)
    by_normed = (by_product @ fc).float()
    along = (by_normed * x).mean(1) * factors.square()
    by_x = by_normed - x * along.unsqueeze(1)
    return by_x.to(x.dtype), None, by_product.T @ x, gradient.T @ squared


_relu2_mlp.register_autograd(_mlp_backward, setup_context=_save_mlp)
