"""Attention of a joint projection to queries, keys and values, as training reads whole rows.

One product makes all three and turns queries and keys, cuDNN attends; backwards the gradients of all three are written
beside each other, so that what they came from has one product again, and nothing to sum.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from engines.tensor.devices import multiplies_by_tiles
from engines.tensor.fast import cudnn_attention
from engines.tensor.fast.cudnn_attention import Found


class Turning(NamedTuple):
    """How queries and keys are turned: by angles (T, D), cosines beside sines, after a norm and times `scale` unless
    that is None."""

    angles: Tensor
    scale: float | None
    eps: float


def project_jointly(
    x: Tensor, weights: Tensor, head_size: int, key_heads: int, turning: Turning
) -> tuple[Tensor, Tensor]:
    """Queries and keys, turned, and values of x (B, T, C) by `weights` (heads D, C): the heads (B, T, heads, D) of all,
    and the factors of the norms (B, T, query and key heads).

    Its gradient is that of the product alone: what comes back is one by queries and keys before they were turned."""
    joint: tuple[Tensor, Tensor] = _project(x, weights, head_size, key_heads, *turning)
    return joint


def attend_jointly(joint: Tensor, factors: Tensor, v: Tensor, turning: Turning, window: Tensor) -> Tensor:
    """What queries find (B, T, heads, D) in the `window` positions that end with their own, 0 for all. That is one
    number on the processor, and a tensor so that the compiler's code is for windows of all sizes.

    `joint` and `factors` are what `project_jointly` gives; `v` (B, T, key heads, D) is the values in it, detached, and
    whatever is added to them: the gradient that `v` gets, `joint` is given here."""
    angles, scale, _ = turning
    found: Tensor = _attend(joint, factors, v, angles, scale, window)[0]
    return found


# --- the projection -----------------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::project_jointly", mutates_args=())
def _project(
    x: Tensor,
    weights: Tensor,
    head_size: int,
    key_heads: int,
    angles: Tensor,
    scale: float | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    rows, length, width = x.shape
    count = len(weights) // head_size - key_heads
    if multiplies_by_tiles(x.device, x.dtype, width):
        from engines.tensor.kernels import tiled_matmul  # needs triton

        if tiled_matmul.turns_heads(head_size, length):
            joint, factors = tiled_matmul.turned_heads(x.flatten(0, 1), weights, angles, count, scale, eps)
            return joint.view(rows, length, -1, head_size), factors.view(rows, length, count)
    from engines.tensor.kernels.rotary import turn

    joint = (x @ weights.T).view(rows, length, -1, head_size)
    return joint, turn(joint, angles, count, scale, eps)


@_project.register_fake
def _(x: Tensor, weights: Tensor, head_size: int, key_heads: int, *_: Any) -> tuple[Tensor, Tensor]:
    rows, length = x.shape[:2]
    heads = len(weights) // head_size
    joint = x.new_empty(rows, length, heads, head_size)
    return joint, x.new_empty(rows, length, heads - key_heads, dtype=torch.float32)


def _keep_factors(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:2])


def _multiply_back(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    x, weights = ctx.saved_tensors
    by_row = gradient.flatten(2).flatten(0, 1)
    return (by_row @ weights).view(x.shape), by_row.T @ x.flatten(0, 1), None, None, None, None, None


_project.register_autograd(_multiply_back, setup_context=_keep_factors)


# --- attention ----------------------------------------------------------------------------------------


@torch.library.custom_op("nanochat_tui::attend_jointly", mutates_args=())
def _attend(
    joint: Tensor, factors: Tensor, v: Tensor, angles: Tensor, scale: float | None, window: Tensor
) -> tuple[Tensor, Tensor]:
    """What was found, and the logarithm (B, query heads, T, 1) of each query's sum of weights."""
    values, log_sums = _results(joint, v)
    found = Found(values.transpose(1, 2), log_sums)
    cudnn_attention.attend(*_by_head(joint, v), v.transpose(1, 2), found, int(window))
    return values, log_sums


@_attend.register_fake
def _(joint: Tensor, factors: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return _results(joint, v)


@torch.library.custom_op("nanochat_tui::attend_jointly_gradient", mutates_args=())
def _gradient(
    gradient: Tensor, joint: Tensor, factors: Tensor, v: Tensor, angles: Tensor, scale: float | None,
    window: Tensor, values: Tensor, log_sums: Tensor,
) -> Tensor:  # fmt: skip
    """The one by the joint projection."""
    from engines.tensor.kernels.rotary import turn_back

    by_joint = torch.empty_like(joint)
    found = Found(values.transpose(1, 2), log_sums)
    results = [*_by_head(by_joint, v), by_joint[:, :, -v.shape[2] :].transpose(1, 2)]
    q, k = _by_head(joint, v)
    gradient = gradient.contiguous().transpose(1, 2)
    cudnn_attention.pass_back(gradient, q, k, v.transpose(1, 2), found, int(window), results)
    turn_back(by_joint, joint, factors, angles, scale)
    return by_joint


@_gradient.register_fake
def _(gradient: Tensor, joint: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(joint)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    joint, factors, v, angles, ctx.scale, window = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(joint, factors, v, angles, window, *output)


def _pass_back(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
    joint, factors, v, angles, window, *found = ctx.saved_tensors
    by_joint = _gradient(gradient, joint, factors, v, angles, ctx.scale, window, *found)
    return by_joint, None, by_joint[:, :, -v.shape[2] :], None, None, None


_attend.register_autograd(_pass_back, setup_context=_keep)


def _results(joint: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    rows, length, heads, size = joint.shape
    queries = heads - 2 * v.shape[2]
    values = joint.new_empty(rows, length, queries, size)
    return values, joint.new_empty(rows, queries, length, 1, dtype=torch.float32)


def _by_head(joint: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (B, heads, T, D) and keys (B, key heads, T, D)."""
    queries = joint.shape[2] - 2 * v.shape[2]
    return joint[:, :, :queries].transpose(1, 2), joint[:, :, queries : -v.shape[2]].transpose(1, 2)
