"""Attention of one query per row to a KV cache: plain, and split over the whole GPU (Flash-Decoding)."""

import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor

_HAS_TRITON = importlib.util.find_spec("triton") is not None


def decode_attention(q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    """Return attention outputs (B, heads, 1, D) for q of that shape, keys and values (B, kv_heads, positions, D).

    Row b sees positions begins[b] to ends[b] - 1.
    """
    if q.is_cuda and _HAS_TRITON and q.dtype != torch.float64 and _is_power_of_two(q.shape[-1]):
        return _split_attention(q, keys, values, begins, ends)
    positions = torch.arange(keys.shape[2], device=keys.device)
    mask = (positions >= begins[:, None]) & (positions < ends[:, None])  # (B, positions)
    is_grouped = q.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask[:, None, None, :], enable_gqa=is_grouped)


@torch.library.custom_op("nanochat_tui::decode_attention", mutates_args=())
def _attend_chunks(
    q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each of `count` chunks of the positions the weighted sum of values (B, heads, count, D), and the
    maximum score and the sum of weights (B, heads, count)."""
    from engines.tensor.kernels.decode_attention import attend_chunks  # needs triton

    return attend_chunks(q, keys, values, begins, ends, count)


@_attend_chunks.register_fake
def _(
    q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    rows, heads, _, size = q.shape
    sums = q.new_empty(rows, heads, count, size, dtype=torch.float32)
    return sums, sums.new_empty(rows, heads, count), sums.new_empty(rows, heads, count)


_MIN_PROGRAMS = 1024  # enough to keep every multiprocessor of a GPU reading
_MAX_CHUNKS = 32


def _split_attention(q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    rows, heads = q.shape[:2]
    count = min(_MAX_CHUNKS, -(-_MIN_PROGRAMS // (rows * heads)))
    sums, max_scores, weights = _attend_chunks(q, keys, values, begins, ends, count)
    share = torch.exp(max_scores - max_scores.amax(-1, keepdim=True))  # 0 for a chunk without visible positions
    total = (share * weights).sum(-1, keepdim=True)
    outputs: Tensor = (share.unsqueeze(-1) * sums).sum(2) / total
    return outputs.unsqueeze(2).to(q.dtype)


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
