"""Attention for eager code on a CPU, by matrix products.

torch's own attention multiplies blocks that are too small for a CPU's bfloat16 instructions. Forward and backward of 12
rows of 64 tokens with 4 heads of 32 channels took 0.6 ms here and 5.4 ms there; of 4 rows of 256 tokens with 4 heads of
64 channels 3.2 ms and 11.0 ms (one thread of an AMD EPYC).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

_MAX_SCORES = 2**23  # computed at once, and kept for the gradient; more are computed again in the backward pass
_MIN_QUERIES = 64  # at once: a product of fewer is slow
_MAX_FLOAT32_LENGTH = 64  # of longer sequences torch's attention is as fast in float32


def is_faster(q: Tensor, keys: int) -> bool:
    """Return whether `attend` takes less time than torch's attention for queries q (B, heads, T, D)."""
    return q.dtype == torch.bfloat16 or (q.dtype == torch.float32 and keys <= _MAX_FLOAT32_LENGTH)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, max_scores: int = _MAX_SCORES) -> Tensor:
    """Return attention outputs (B, heads, T, D) for q (B, heads, T, D), k and v (B, kv_heads, S, D).

    The mask is a boolean (T, S) or (B, 1, T, S), true where a query sees a key; causal if it is None. At most
    `max_scores` are computed at once.
    """
    outputs: Tensor = _Attention.apply(q, k, v, mask, max_scores)  # type: ignore[no-untyped-call]
    return outputs


class _QueryBlock(NamedTuple):
    """Queries that are computed together: positions begin to end - 1, which see no keys from `keys` on."""

    begin: int
    end: int
    keys: int


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, max_scores: int) -> Tensor:
        queries, keys, values = _group_queries(q, k), k.flatten(0, 1), v.flatten(0, 1)
        blocks = list(_split_queries(queries, keys, max_scores, is_causal=mask is None))
        outputs = []
        for block in blocks:
            weights = _attention_weights(queries, keys, block, mask, len(q))
            outputs.append((weights @ values[:, : block.keys]).unflatten(1, (queries.shape[1], -1)))
        ctx.save_for_backward(queries, keys, values, mask, weights if len(blocks) == 1 else None)
        ctx.blocks, ctx.shapes = blocks, (q.shape, k.shape)
        return _join(outputs).view(q.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, mask, weights = ctx.saved_tensors
        q_shape, k_shape = ctx.shapes
        gradients = gradient.reshape(queries.shape)
        scale = queries.shape[-1] ** -0.5
        q_grads, k_grads, v_grads = [], _KeySums(keys, len(ctx.blocks)), _KeySums(values, len(ctx.blocks))
        for block in ctx.blocks:
            p = weights if weights is not None else _attention_weights(queries, keys, block, mask, q_shape[0])
            of_block, q = (x[:, :, block.begin : block.end].flatten(1, 2) for x in (gradients, queries))
            v_grads.add(p.mT @ of_block)
            p_grad = of_block @ values[:, : block.keys].mT
            score_grad = torch.ops.aten._softmax_backward_data(p_grad, p, -1, p.dtype).mul_(scale)
            q_grads.append((score_grad @ keys[:, : block.keys]).unflatten(1, (queries.shape[1], -1)))
            k_grads.add(score_grad.mT @ q)
        return _join(q_grads).view(q_shape), k_grads.total().view(k_shape), v_grads.total().view(k_shape), None, None


class _KeySums:
    """The sum of gradients of the first keys or values (B * kv_heads, ..., D), in float32 if there are several."""

    def __init__(self, of: Tensor, count: int) -> None:
        self._dtype = of.dtype
        self._sum = torch.zeros(of.shape) if count > 1 else None

    def add(self, gradient: Tensor) -> None:
        if self._sum is None:
            self._sum = gradient
        else:
            self._sum[:, : gradient.shape[1]] += gradient

    def total(self) -> Tensor:
        assert self._sum is not None
        return self._sum.to(self._dtype)


def _join(blocks: list[Tensor]) -> Tensor:
    """Return the blocks (B * kv_heads, heads, queries, D) as one tensor."""
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 2)


def _group_queries(q: Tensor, k: Tensor) -> Tensor:
    """Return q (B, heads, T, D) as (B * kv_heads, heads of one kv head, T, D)."""
    return q.reshape(q.shape[0] * k.shape[1], -1, *q.shape[2:])


def _split_queries(queries: Tensor, keys: Tensor, max_scores: int, is_causal: bool) -> Iterator[_QueryBlock]:
    groups, heads, length, _ = queries.shape
    size = max(min(_MIN_QUERIES, max_scores), max_scores // (groups * heads * keys.shape[1]))
    for begin in range(0, length, size):
        end = min(begin + size, length)
        yield _QueryBlock(begin, end, end if is_causal else keys.shape[1])


def _attention_weights(
    queries: Tensor, keys: Tensor, block: _QueryBlock, mask: Tensor | None, batch_size: int
) -> Tensor:
    """Return the weights (B * kv_heads, heads of one kv head * queries, keys) of a block."""
    q = queries[:, :, block.begin : block.end].flatten(1, 2)
    bias = _mask_bias(queries, block, mask, batch_size)
    scores = torch.baddbmm(bias, q, keys[:, : block.keys].mT, alpha=q.shape[-1] ** -0.5)
    return scores.softmax(-1)


def _mask_bias(queries: Tensor, block: _QueryBlock, mask: Tensor | None, batch_size: int) -> Tensor:
    """Return 0 where a query of the block sees a key, and -inf elsewhere, broadcastable to the scores."""
    if mask is None:
        rows = torch.arange(block.begin, block.end)[:, None]
        visible = torch.arange(block.keys) <= rows
    else:
        visible = mask[..., block.begin : block.end, :]
    bias = torch.zeros(visible.shape, dtype=queries.dtype).masked_fill_(~visible, -torch.inf)
    groups, heads = queries.shape[:2]
    if bias.dim() == 2:
        return bias.repeat(heads, 1)
    shape = batch_size, groups // batch_size, heads, *bias.shape[2:]
    return bias.unsqueeze(1).expand(shape).flatten(2, 3).flatten(0, 1)
