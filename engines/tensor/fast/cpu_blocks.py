"""Layers for training on a CPU: their parts have hand-written gradients, as small operations take longer to start than
to compute."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from engines.tensor.models.cpu_functions import (
    multiply,
    multiply_transposed,
    normalize,
    normalize_gradient,
    rotate,
)
from engines.tensor.models.gpt import NORM_EPS, Attention, Block, LayerInputs, scale_residual
from engines.tensor.models.layers import RMS_EPS, attend, linear, rms_norm
from engines.tensor.models.mini_gpt import MiniBlock


class CPUBlock(Block):
    """A `Block` with ReLU² for eager code on a CPU. It has the same weights."""

    def __init__(self, block: Block) -> None:
        super().__init__(block.attention.settings, block.attention.layer, _weights_of(block.attention, block.mlp))
        self.attention = CPUAttention(self.attention)

    def forward(self, x: Tensor, residual_scale: Tensor | None, x0_scale: Tensor | None, inputs: LayerInputs) -> Tensor:
        x = scale_residual(x, residual_scale, x0_scale, inputs.x0)
        x = x + self.attention(rms_norm(x, NORM_EPS), inputs)
        return add_mlp(x, self.mlp.fc, self.mlp.proj, NORM_EPS)


class CPUAttention(Attention):
    """`Attention` that projects, rotates and normalises queries and keys together."""

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention.settings, attention.layer, _weights_of(attention))

    def mix_heads(self, x: Tensor, inputs: LayerInputs) -> Tensor:
        settings = self.settings
        angles = (inputs.cos, inputs.sin) if settings.rotary else None
        options = QKVOptions(self.head_size, angles, settings.qk_scale if settings.qk_norm else None)
        q, k, v = project_qkv(x, self.q, self.k, self.v, options)
        v = self.add_value_embedding(v, x, inputs.tokens)
        q, k, v = (h.transpose(1, 2) for h in (q, k, v))  # (B, heads, T, D)
        return inputs.context.attend(self.layer, q, k, v, self.window).transpose(1, 2).flatten(2)


class CPUMiniBlock(MiniBlock):
    """A `MiniBlock` for eager code on a CPU. It has the same weights."""

    def __init__(self, block: MiniBlock) -> None:
        super().__init__(_weights_of(block), block.heads)

    def forward(self, x: Tensor) -> Tensor:
        options = QKVOptions(x.shape[-1] // self.heads, angles=None, qk_scale=None)
        q, k, v = project_qkv(rms_norm(x, RMS_EPS), self.wq, self.wk, self.wv, options)
        heads = attend(*(h.transpose(1, 2) for h in (q, k, v))).transpose(1, 2).flatten(2)  # (B, T, C)
        return add_mlp(x + linear(heads, self.wo), self.fc1, self.fc2, RMS_EPS)


def _weights_of(*modules: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: weight for module in modules for name, weight in module.named_parameters(recurse=False)}


# --- queries, keys and values ---------------------------------------------------------------------------


class QKVOptions(NamedTuple):
    """Rotation and norm of queries and keys after their projection."""

    head_size: int
    angles: tuple[Tensor, Tensor] | None  # cosines and sines of the rotary embedding, or None
    qk_scale: float | None  # of the RMS norm, or None


def project_qkv(x: Tensor, q: Tensor, k: Tensor, v: Tensor, options: QKVOptions) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries (B, T, heads, D), keys and values (B, T, kv_heads, D) of x (B, T, C), by weights (heads * D, C)
    and (kv_heads * D, C)."""
    projected: tuple[Tensor, Tensor, Tensor] = _ProjectQKV.apply(x, q, k, v, options)  # type: ignore[no-untyped-call]
    return projected


class _ProjectQKV(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, q: Tensor, k: Tensor, v: Tensor, options: QKVOptions) -> tuple[Tensor, ...]:
        ctx.options, ctx.sizes, ctx.dtype = options, [len(w) // options.head_size for w in (q, k, v)], q.dtype
        rows, weight = x.flatten(0, 1), torch.cat((q, k, v)).to(x.dtype)
        heads = multiply(rows, weight).view(*x.shape[:2], -1, options.head_size)
        qk, values = heads.split([ctx.sizes[0] + ctx.sizes[1], ctx.sizes[2]], 2)
        if options.angles:
            qk = rotate(qk, *options.angles)
        normed = factors = None
        if options.qk_scale is not None:
            normed, factors = normalize(qk, NORM_EPS)
            qk = options.qk_scale * normed
        ctx.save_for_backward(rows, weight, normed, factors)
        return *qk.split(ctx.sizes[:2], 2), values

    @staticmethod
    def backward(ctx: Any, q_grad: Tensor, k_grad: Tensor, v_grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, normed, factors = ctx.saved_tensors
        qk_grad = torch.cat((q_grad, k_grad), 2)
        if normed is not None:
            qk_grad = normalize_gradient(qk_grad.mul_(ctx.options.qk_scale), normed, factors)
        if ctx.options.angles:
            cos, sin = ctx.options.angles
            qk_grad = rotate(qk_grad, cos, -sin)
        gradient = torch.cat((qk_grad, v_grad), 2).flatten(2).flatten(0, 1)
        sizes = [size * ctx.options.head_size for size in ctx.sizes]
        weight_grads = multiply_transposed(gradient, rows).to(ctx.dtype).split(sizes)
        return multiply(gradient, weight.T).view(*q_grad.shape[:2], -1), *weight_grads, None


# --- the MLP --------------------------------------------------------------------------------------------


def add_mlp(x: Tensor, fc: Tensor, proj: Tensor, eps: float) -> Tensor:
    """Return x (B, T, C) + relu(rms_norm(x) @ fc.T)² @ proj.T, for fc (F, C) and proj (C, F)."""
    total: Tensor = _AddMLP.apply(x, fc, proj, eps)  # type: ignore[no-untyped-call]
    return total


class _AddMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fc: Tensor, proj: Tensor, eps: float) -> Tensor:
        rows = x.flatten(0, 1)
        normed, factors = normalize(rows, eps)
        fc_weight, proj_weight = fc.to(x.dtype), proj.to(x.dtype)
        relu = multiply(normed, fc_weight).relu_()
        squares = relu * relu
        ctx.save_for_backward(normed, factors, relu, squares, fc_weight, proj_weight)
        ctx.dtype = fc.dtype
        return multiply(squares, proj_weight).add_(rows).view(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        normed, factors, relu, squares, fc_weight, proj_weight = ctx.saved_tensors
        rows = gradient.flatten(0, 1)
        proj_grad = multiply_transposed(rows, squares).to(ctx.dtype)
        relu_grad = multiply(rows, proj_weight.T).mul_(relu).mul_(2.0)
        fc_grad = multiply_transposed(relu_grad, normed).to(ctx.dtype)
        x_grad = normalize_gradient(multiply(relu_grad, fc_weight.T), normed, factors).add_(rows)
        return x_grad.view(gradient.shape), fc_grad, proj_grad, None
