"""Attention of a joint projection to queries, keys and values, as training reads whole rows.

One product makes all three, one kernel norms and turns queries and keys, cuDNN attends; backwards the gradients of all
three are written beside each other, so that what they came from has one product again, and nothing to sum.
"""

from typing import Any

import torch
from torch import Tensor

from engines.tensor import cudnn_attention
from engines.tensor.cudnn_attention import Found


def attend_jointly(
    joint: Tensor, v: Tensor, cos: Tensor, sin: Tensor, scale: float | None, eps: float, window: Tensor
) -> Tensor:
    """What queries find (B, T, heads, D) in the `window` positions that end with their own, 0 for all. That is one
    number on the processor, and a tensor so that the compiler's code is for windows of all sizes.

    `joint` (B, T, heads, D) has the heads of queries, keys and values; `v` (B, T, key heads, D) is its values,
    detached, and whatever is added to them: the gradient that `v` gets, `joint` is given here.
    Queries and keys are turned by the angles (T, D / 2), after a norm and times `scale` unless that is None."""
    found: Tensor = _attend(joint, v, cos, sin, scale, eps, window)[0]
    return found


@torch.library.custom_op("nanochat_tui::attend_jointly", mutates_args=())
def _attend(
    joint: Tensor, v: Tensor, cos: Tensor, sin: Tensor, scale: float | None, eps: float, window: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What was found, and what gradients need: queries and keys turned (B, T, heads, D), the factor (B, T, heads) of
    their norm, the logarithm (B, query heads, T, 1) of each query's sum of weights."""
    from engines.tensor.rotary_kernel import turned  # needs triton

    both, factors = turned(joint, cos, sin, v.shape[2], scale, eps)
    values, log_sums = _results(joint, v)
    q, k = _by_head(both, v)
    cudnn_attention.attend(q, k, v.transpose(1, 2), Found(values.transpose(1, 2), log_sums), int(window))
    return values, both, factors, log_sums


@_attend.register_fake
def _(
    joint: Tensor, v: Tensor, cos: Tensor, sin: Tensor, scale: float | None, eps: float, window: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, length, heads, size = joint.shape
    both = joint.new_empty(rows, length, heads - v.shape[2], size)
    values, log_sums = _results(joint, v)
    return values, both, joint.new_empty(both.shape[:3], dtype=torch.float32), log_sums


@torch.library.custom_op("nanochat_tui::attend_jointly_gradient", mutates_args=())
def _gradient(
    gradient: Tensor, v: Tensor, cos: Tensor, sin: Tensor, scale: float | None, window: Tensor,
    values: Tensor, both: Tensor, factors: Tensor, log_sums: Tensor,
) -> Tensor:  # fmt: skip
    """The one by the joint projection."""
    from engines.tensor.rotary_kernel import turn_back

    joint, by_both = _joint(both, v), torch.empty_like(both)
    found = Found(values.transpose(1, 2), log_sums)
    results = [*_by_head(by_both, v), joint[:, :, both.shape[2] :].transpose(1, 2)]
    q, k = _by_head(both, v)
    cudnn_attention.pass_back(
        gradient.contiguous().transpose(1, 2), q, k, v.transpose(1, 2), found, int(window), results
    )
    turn_back(by_both, both, factors, cos, sin, scale, joint)
    return joint


@_gradient.register_fake
def _(
    gradient: Tensor, v: Tensor, cos: Tensor, sin: Tensor, scale: float | None, window: Tensor,
    values: Tensor, both: Tensor, factors: Tensor, log_sums: Tensor,
) -> Tensor:  # fmt: skip
    return _joint(both, v)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, v, cos, sin, ctx.scale, _, window = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(v, cos, sin, window, *output)


def _pass_back(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    v, cos, sin, window, *kept = ctx.saved_tensors
    joint = _gradient(gradient, v, cos, sin, ctx.scale, window, *kept)
    return joint, joint[:, :, -v.shape[2] :], None, None, None, None, None


_attend.register_autograd(_pass_back, setup_context=_keep)


def _results(joint: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    rows, length, heads, size = joint.shape
    queries = heads - 2 * v.shape[2]
    values = joint.new_empty(rows, length, queries, size)
    return values, joint.new_empty(rows, queries, length, 1, dtype=torch.float32)


def _joint(both: Tensor, v: Tensor) -> Tensor:
    rows, length, heads, size = both.shape
    return both.new_empty(rows, length, heads + v.shape[2], size)


def _by_head(both: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (B, heads, T, D) and keys (B, key heads, T, D)."""
    queries = both.shape[2] - v.shape[2]
    return both[:, :, :queries].transpose(1, 2), both[:, :, queries:].transpose(1, 2)
