"""Losses of soft-capped logits and their gradients (Triton).

One kernel computes both, one program per row. On Hopper `tiled_matmul.exp_matmul` writes the gradients without storing
the logits, and a second kernel completes them.

Reference: `engines.tensor.models.layers.softcapped_cross_entropy`; both are compared in
tests/engines/tensor/cuda/test_kernels.py.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_MAX_BLOCK, _WARPS = 8192, 16  # logits per load, warps per program; measured on an H200
_ROWS, _CHANNELS = 32, 64  # rows per program, channels per load

_LOG2_E = tl.constexpr(1.4426950408889634)  # the hardware's exponential is of base 2
_LN_2 = tl.constexpr(0.6931471805599453)


def losses_and_gradients(logits: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """Return the loss (N), in float32, of each target (N), and replace raw `logits` (N, Vp) by their gradient."""
    count, size = logits.shape
    losses = torch.empty(count, dtype=torch.float32, device=logits.device)
    _rows_kernel[(count,)](
        logits, targets, losses, logits.stride(0), softcap, vocab_size, size,
        BLOCK=min(_MAX_BLOCK, triton.next_power_of_2(size)), num_warps=_WARPS,
    )  # fmt: skip
    return losses


def head_losses_and_gradients(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return losses (N), gradients (N, Vp) by raw logits in multiples of a unit of each row, and these units (N), for
    inputs of the head `hidden` (N, C) and `head` (Vp, C)."""
    from engines.tensor.kernels.tiled_matmul import exp_matmul  # for Hopper's Triton only

    gradients, sums = exp_matmul(hidden, head, softcap, vocab_size)
    losses, units = (torch.empty(len(hidden), dtype=torch.float32, device=hidden.device) for _ in range(2))
    _complete_rows_kernel[(triton.cdiv(len(hidden), _ROWS),)](
        hidden.contiguous(), head.contiguous(), targets, sums, gradients, losses, units,
        *hidden.shape, len(head), len(sums), softcap,
        ROWS=_ROWS, CHANNELS=_CHANNELS,
    )  # fmt: skip
    return losses, gradients, units


# With t = tanh(raw / softcap) and p = softmax(softcap * t), the loss of a row is -log p[target], and its gradient with
# respect to a raw logit (p - [it is the target's]) * (1 - t²). Capped logits are so small that the maximum need not be
# subtracted. The target's logit is read before the sum, at which all threads synchronise: later another thread may have
# overwritten it with its gradient.


@triton.jit  # type: ignore[untyped-decorator]
def _rows_kernel(  # type: ignore[no-untyped-def]
    logits, targets, losses, stride, softcap, vocab_size, padded_size, BLOCK: tl.constexpr,
):  # fmt: skip
    """Read a row twice, in blocks; the second time most of it is in the cache."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets + row)
    start = logits + row * stride
    bits = softcap * _LOG2_E
    target_logit = _tanh_approx(tl.load(start + target).to(tl.float32) / softcap)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, vocab_size, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        raw = tl.load(start + columns, mask=columns < vocab_size, other=0.0).to(tl.float32)
        total += tl.where(columns < vocab_size, tl.exp2(bits * _tanh_approx(raw / softcap)), 0.0)
    log_total = tl.log2(tl.sum(total))
    tl.store(losses + row, (log_total - bits * target_logit) * _LN_2)
    for first in range(0, padded_size, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        raw = tl.load(start + columns, mask=columns < vocab_size, other=0.0).to(tl.float32)
        capped = _tanh_approx(raw / softcap)
        off = tl.exp2(bits * capped - log_total) - tl.where(columns == target, 1.0, 0.0)
        gradient = tl.where(columns < vocab_size, off * (1.0 - capped * capped), 0.0)
        tl.store(start + columns, gradient.to(logits.dtype.element_ty), mask=columns < padded_size)


@triton.jit  # type: ignore[untyped-decorator]
def _complete_rows_kernel(  # type: ignore[no-untyped-def]
    hidden, head, targets, sums, gradients, losses, units, count, width, padded_size, tiles, softcap,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Complete each row with its sum of exponentials, whose inverse is its unit. In such units, a target's probability
    minus one is its exponential minus the sum."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    known = rows < count
    wide = rows.to(tl.int64)
    target = tl.load(targets + rows, mask=known, other=0)
    products = tl.zeros((ROWS, CHANNELS), tl.float32)
    for first in range(0, width, CHANNELS):
        channels = first + tl.arange(0, CHANNELS)
        inside = known[:, None] & (channels < width)[None, :]
        state = tl.load(hidden + wide[:, None] * width + channels[None, :], mask=inside, other=0.0)
        weight = tl.load(head + target[:, None] * width + channels[None, :], mask=inside, other=0.0)
        products += state.to(tl.float32) * weight.to(tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for tile in range(tiles):
        total += tl.load(sums + tile * count + rows, mask=known, other=1.0)
    bits = softcap * _LOG2_E
    target_logit = _tanh_approx(tl.sum(products, 1) / softcap)
    tl.store(losses + rows, (tl.log2(total) - bits * target_logit) * _LN_2, mask=known)
    tl.store(units + rows, 1.0 / total, mask=known)
    gradient = (tl.exp2(bits * target_logit) - total) * (1.0 - target_logit * target_logit)
    tl.store(gradients + wide * padded_size + target, gradient.to(gradients.dtype.element_ty), mask=known)


@triton.jit
def _tanh_approx(x):  # type: ignore[no-untyped-def]
    """Return tanh with an error of at most 2^-11; bfloat16 logits have 2^-9."""
    return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
