"""Attention of one query, a program for each head and part of the positions (Triton): keys and values are read once, by
all of the GPU. The idea is Flash-Decoding's (Dao and others, 2023).

Reference: `engines.tensor.inference.decode_attention`; tests/engines/tensor/test_cuda.py compares both.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK, _WARPS = 64, 4  # positions that a program holds at once, and its warps


def attend_chunks(
    q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `engines.tensor.inference.decode_attention` says. Keys and values lie alike."""
    rows, heads, _, size = q.shape
    key_heads, positions = keys.shape[1:3]
    mixed = torch.empty(rows, heads, count, size, dtype=torch.float32, device=q.device)
    highest, weights = (torch.empty(rows, heads, count, dtype=torch.float32, device=q.device) for _ in range(2))
    _attend[(rows * heads, count)](
        q.contiguous(), keys, values, begins, ends, mixed, highest, weights, size**-0.5, heads, heads // key_heads,
        keys.stride(0), keys.stride(1), triton.cdiv(positions, count), SIZE=size, BLOCK=_BLOCK, num_warps=_WARPS,
    )  # fmt: skip
    return mixed, highest, weights


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    q, keys, values, begins, ends, mixed, highest, weights, scale, heads, group, row_stride, head_stride, part_length,
    SIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A running softmax over the positions of one part: what was summed so far shrinks as larger scores appear."""
    place, part, parts = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    row, head = place // heads, place % heads
    start = row * row_stride + head // group * head_stride
    channels = tl.arange(0, SIZE)
    query = tl.load(q + place * SIZE + channels).to(tl.float32) * scale
    begin = tl.maximum(tl.load(begins + row), part * part_length)
    end = tl.minimum(tl.load(ends + row), (part + 1) * part_length)
    most = -1e30  # below any score, and finite: differences of two such are 0
    total = 0.0
    found = tl.zeros((SIZE,), tl.float32)
    for first in range(begin, end, BLOCK):
        positions = first + tl.arange(0, BLOCK)
        inside = positions < end
        offsets = start + positions[:, None] * SIZE + channels[None, :]
        key = tl.load(keys + offsets, mask=inside[:, None], other=0.0).to(tl.float32)
        value = tl.load(values + offsets, mask=inside[:, None], other=0.0).to(tl.float32)
        scores = tl.where(inside, tl.sum(key * query[None, :], 1), -1e30)
        higher = tl.maximum(most, tl.max(scores, 0))
        chances = tl.where(inside, tl.exp(scores - higher), 0.0)
        shrink = tl.exp(most - higher)
        total = total * shrink + tl.sum(chances, 0)
        found = found * shrink + tl.sum(chances[:, None] * value, 0)
        most = higher
    tl.store(mixed + (place * parts + part) * SIZE + channels, found)
    tl.store(highest + place * parts + part, most)
    tl.store(weights + place * parts + part, total)
