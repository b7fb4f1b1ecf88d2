"""Attention of one query per row, with a program for each head and chunk of positions (Triton).

Keys and values are read once, by the whole GPU: Flash-Decoding (Dao et al., 2023).

Reference: `engines.tensor.inference.decode_attention`; tests/engines/tensor/cuda/test_decoding.py compares both.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK, _WARPS = 64, 4  # positions per load, warps per program


def attend_chunks(
    q: Tensor, keys: Tensor, values: Tensor, begins: Tensor, ends: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `engines.tensor.inference.decode_attention`. Keys and values have the same strides."""
    rows, heads, _, size = q.shape
    key_heads, positions = keys.shape[1:3]
    sums = torch.empty(rows, heads, count, size, dtype=torch.float32, device=q.device)
    max_scores, weights = (torch.empty(rows, heads, count, dtype=torch.float32, device=q.device) for _ in range(2))
    _attend_kernel[(rows * heads, count)](
        q.contiguous(), keys, values, begins, ends, sums, max_scores, weights, size**-0.5, heads, heads // key_heads,
        keys.stride(0), keys.stride(1), triton.cdiv(positions, count), SIZE=size, BLOCK=_BLOCK, num_warps=_WARPS,
    )  # fmt: skip
    return sums, max_scores, weights


@triton.jit  # type: ignore[untyped-decorator]
def _attend_kernel(  # type: ignore[no-untyped-def]
    q, keys, values, begins, ends, sums, max_scores, weights, scale, heads, group, row_stride, head_stride,
    chunk_length, SIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute a running softmax over the positions of one chunk: earlier sums are rescaled as larger scores appear."""
    index, chunk, chunks = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    row, head = index // heads, index % heads
    start = row * row_stride + head // group * head_stride
    channels = tl.arange(0, SIZE)
    query = tl.load(q + index * SIZE + channels).to(tl.float32) * scale
    begin = tl.maximum(tl.load(begins + row), chunk * chunk_length)
    end = tl.minimum(tl.load(ends + row), (chunk + 1) * chunk_length)
    max_score = -1e30  # below any score, and finite: differences of two such are 0
    total = 0.0
    accumulator = tl.zeros((SIZE,), tl.float32)
    for first in range(begin, end, BLOCK):
        positions = first + tl.arange(0, BLOCK)
        inside = positions < end
        offsets = start + positions[:, None] * SIZE + channels[None, :]
        key = tl.load(keys + offsets, mask=inside[:, None], other=0.0).to(tl.float32)
        value = tl.load(values + offsets, mask=inside[:, None], other=0.0).to(tl.float32)
        scores = tl.where(inside, tl.sum(key * query[None, :], 1), -1e30)
        new_max = tl.maximum(max_score, tl.max(scores, 0))
        probabilities = tl.where(inside, tl.exp(scores - new_max), 0.0)
        rescale = tl.exp(max_score - new_max)
        total = total * rescale + tl.sum(probabilities, 0)
        accumulator = accumulator * rescale + tl.sum(probabilities[:, None] * value, 0)
        max_score = new_max
    tl.store(sums + (index * chunks + chunk) * SIZE + channels, accumulator)
    tl.store(max_scores + index * chunks + chunk, max_score)
    tl.store(weights + index * chunks + chunk, total)
