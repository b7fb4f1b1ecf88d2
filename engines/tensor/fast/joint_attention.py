"""Attention with one projection to queries, keys and values, for training on full sequences.

One matrix product computes all three and rotates queries and keys; cuDNN attends. In the backward pass the gradients of
all three are written next to each other, so that the projection's gradient is one product again and nothing is summed.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from engines.tensor.devices import has_tiled_matmul
from engines.tensor.fast import cudnn_attention
from engines.tensor.fast.cudnn_attention import AttentionOutput
from engines.tensor.models.gpt import NORM_EPS, Attention, LayerInputs


class JointAttention(Attention):
    """`Attention` with one product for queries, keys and values, and cuDNN attention. It has the same weights."""

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention.settings, attention.layer, dict(attention.named_parameters(recurse=False)))
        # on the CPU, and a tensor: layers with other windows share the compiled code
        self.window_tensor = torch.tensor(self.window)

    def mix_heads(self, x: Tensor, inputs: LayerInputs) -> Tensor:
        settings = self.settings
        cos, sin = inputs.cos.squeeze(-2), inputs.sin.squeeze(-2)  # (T, D / 2)
        if not settings.rotary:
            cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
        params = RotaryParams(torch.cat((cos, sin), dim=1), settings.qk_scale if settings.qk_norm else None, NORM_EPS)
        weights = torch.cat([weight.to(x.dtype) for weight in (self.q, self.k, self.v)])
        qkv, norm_factors = project_qkv_jointly(x, weights, self.head_size, settings.kv_heads, params)
        v = self.add_value_embedding(qkv[:, :, -settings.kv_heads :].detach(), x, inputs.tokens)
        return attend_jointly(qkv, norm_factors, v, params, self.window_tensor).flatten(2)


class RotaryParams(NamedTuple):
    """Rotary embedding of queries and keys, after an RMS norm times `scale` unless that is None."""

    angles: Tensor  # (T, D): cosines, then sines
    scale: float | None
    eps: float


def project_qkv_jointly(
    x: Tensor, weights: Tensor, head_size: int, kv_heads: int, params: RotaryParams
) -> tuple[Tensor, Tensor]:
    """Return rotated queries and keys, and values, of x (B, T, C) by `weights` ((heads + 2 kv_heads) * D, C).

    The result is (B, T, heads + 2 kv_heads, D), and the factors of the norms (B, T, heads + kv_heads). The gradient is
    that of the product alone: it takes the gradient of queries and keys before their rotation.
    """
    qkv: tuple[Tensor, Tensor] = _project(x, weights, head_size, kv_heads, *params)
    return qkv


def attend_jointly(qkv: Tensor, norm_factors: Tensor, v: Tensor, params: RotaryParams, window: Tensor) -> Tensor:
    """Return attention outputs (B, T, heads, D); each query sees the last `window` positions, all if 0.

    `qkv` and `norm_factors` are the results of `project_qkv_jointly`. `v` (B, T, kv_heads, D) is its values, detached,
    plus whatever is added to them: the gradient with respect to `v` is also written into that of `qkv`. `window` is one
    number, on the CPU.
    """
    angles, scale, _ = params
    output: Tensor = _attend(qkv, norm_factors, v, angles, scale, window)[0]
    return output


# --- the projection -----------------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::project_qkv_jointly", mutates_args=())
def _project(
    x: Tensor,
    weights: Tensor,
    head_size: int,
    kv_heads: int,
    angles: Tensor,
    scale: float | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    rows, length, width = x.shape
    count = len(weights) // head_size - kv_heads
    if has_tiled_matmul(x.device, x.dtype, width):
        from engines.tensor.kernels import tiled_matmul  # needs triton

        if tiled_matmul.can_rotate_heads(head_size, length):
            qkv, norm_factors = tiled_matmul.rotated_heads(x.flatten(0, 1), weights, angles, count, scale, eps)
            return qkv.view(rows, length, -1, head_size), norm_factors.view(rows, length, count)
    from engines.tensor.kernels.rotary import rotate_heads

    qkv = (x @ weights.T).view(rows, length, -1, head_size)
    return qkv, rotate_heads(qkv, angles, count, scale, eps)


@_project.register_fake
def _(x: Tensor, weights: Tensor, head_size: int, kv_heads: int, *_: Any) -> tuple[Tensor, Tensor]:
    rows, length = x.shape[:2]
    heads = len(weights) // head_size
    qkv = x.new_empty(rows, length, heads, head_size)
    return qkv, x.new_empty(rows, length, heads - kv_heads, dtype=torch.float32)


def _save_projection(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:2])


def _projection_backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    x, weights = ctx.saved_tensors
    by_row = gradient.flatten(2).flatten(0, 1)
    return (by_row @ weights).view(x.shape), by_row.T @ x.flatten(0, 1), None, None, None, None, None


_project.register_autograd(_projection_backward, setup_context=_save_projection)


# --- attention ----------------------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::attend_jointly", mutates_args=())
def _attend(
    qkv: Tensor, norm_factors: Tensor, v: Tensor, angles: Tensor, scale: float | None, window: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the attention outputs, and the logsumexp (B, heads, T, 1) of each query's scores."""
    values, logsumexp = _empty_outputs(qkv, v)
    output = AttentionOutput(values.transpose(1, 2), logsumexp)
    cudnn_attention.attend(*_queries_and_keys(qkv, v), v.transpose(1, 2), output, int(window))
    return values, logsumexp


@_attend.register_fake
def _(qkv: Tensor, norm_factors: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return _empty_outputs(qkv, v)


@torch.library.custom_op("nanochat_tui::attend_jointly_gradient", mutates_args=())
def _gradient(
    gradient: Tensor, qkv: Tensor, norm_factors: Tensor, v: Tensor, angles: Tensor, scale: float | None,
    window: Tensor, values: Tensor, logsumexp: Tensor,
) -> Tensor:  # fmt: skip
    """Return the gradient with respect to the joint projection."""
    from engines.tensor.kernels.rotary import rotate_heads_backward

    qkv_grad = torch.empty_like(qkv)
    output = AttentionOutput(values.transpose(1, 2), logsumexp)
    results = [*_queries_and_keys(qkv_grad, v), qkv_grad[:, :, -v.shape[2] :].transpose(1, 2)]
    q, k = _queries_and_keys(qkv, v)
    gradient = gradient.contiguous().transpose(1, 2)
    cudnn_attention.backward(gradient, q, k, v.transpose(1, 2), output, int(window), results)
    rotate_heads_backward(qkv_grad, qkv, norm_factors, angles, scale)
    return qkv_grad


@_gradient.register_fake
def _(gradient: Tensor, qkv: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(qkv)


def _save_attention(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    qkv, norm_factors, v, angles, ctx.scale, window = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(qkv, norm_factors, v, angles, window, *output)


def _attention_backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    qkv, norm_factors, v, angles, window, *found = ctx.saved_tensors
    qkv_grad = _gradient(gradient, qkv, norm_factors, v, angles, ctx.scale, window, *found)
    return qkv_grad, None, qkv_grad[:, :, -v.shape[2] :], None, None, None


_attend.register_autograd(_attention_backward, setup_context=_save_attention)


def _empty_outputs(qkv: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    rows, length, heads, size = qkv.shape
    queries = heads - 2 * v.shape[2]
    values = qkv.new_empty(rows, length, queries, size)
    return values, qkv.new_empty(rows, queries, length, 1, dtype=torch.float32)


def _queries_and_keys(qkv: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return queries (B, heads, T, D) and keys (B, key heads, T, D)."""
    queries = qkv.shape[2] - 2 * v.shape[2]
    return qkv[:, :, :queries].transpose(1, 2), qkv[:, :, queries : -v.shape[2]].transpose(1, 2)
