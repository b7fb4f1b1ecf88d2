"""The losses of soft-capped logits and their gradients in one kernel, a program for each row (Triton); on Hopper the
product that makes the logits writes gradients itself, and a kernel completes them.

Reference: `engines.tensor.models.layers.softcapped_cross_entropy`; tests/engines/tensor/test_cuda.py compares both.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_PORTION, _WARPS = 8192, 16  # of a row at a time; measured on an H200
_ROWS, _CHANNELS = 32, 64  # whose gradients a program completes; and that it multiplies at once

_BITS_A_NAT = tl.constexpr(1.4426950408889634)  # 1 / ln 2: powers are of two
_NATS_A_BIT = tl.constexpr(0.6931471805599453)  # ln 2


def losses_and_gradients(logits: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """The loss (N), in float32, of each target (N); `logits` (N, padded V), raw, become its gradient by them."""
    count, size = logits.shape
    losses = torch.empty(count, dtype=torch.float32, device=logits.device)
    _rows[(count,)](
        logits, targets, losses, logits.stride(0), softcap, vocab_size, size,
        BLOCK=min(_PORTION, triton.next_power_of_2(size)), num_warps=_WARPS,
    )  # fmt: skip
    return losses


def head_losses_and_gradients(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of hidden states (N, C) and a head (padded V, C) the losses (N), the gradients (N, padded V) by raw logits in
    multiples of a unit of each row, and these units (N)."""
    from engines.tensor.kernels.tiled_matmul import exp_matmul  # for Hopper's Triton only

    gradients, sums = exp_matmul(hidden, head, softcap, vocab_size)
    losses, units = (torch.empty(len(hidden), dtype=torch.float32, device=hidden.device) for _ in range(2))
    _completed_rows[(triton.cdiv(len(hidden), _ROWS),)](
        hidden.contiguous(), head.contiguous(), targets, sums, gradients, losses, units,
        *hidden.shape, len(head), len(sums), softcap,
        ROWS=_ROWS, CHANNELS=_CHANNELS,
    )  # fmt: skip
    return losses, gradients, units


# With t = tanh(raw / softcap) and p = softmax(softcap * t) the loss of a row is -log p[target], and its gradient by a
# raw logit (p - [it is the target's]) * (1 - t²). Sums are of powers of two; no capped logit is so large that the
# largest had to be taken off first. The target's logit is read before the sum, for which all threads wait: afterwards
# another one may have put the gradient in its place.


@triton.jit  # type: ignore[untyped-decorator]
def _rows(  # type: ignore[no-untyped-def]
    logits, targets, losses, stride, softcap, vocab_size, padded_size, BLOCK: tl.constexpr,
):  # fmt: skip
    """By portions, twice; the second time most of a row is in the cache."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets + row)
    start = logits + row * stride
    bits = softcap * _BITS_A_NAT
    hit = _hardware_tanh(tl.load(start + target).to(tl.float32) / softcap)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, vocab_size, BLOCK):
        places = first + tl.arange(0, BLOCK)
        raw = tl.load(start + places, mask=places < vocab_size, other=0.0).to(tl.float32)
        total += tl.where(places < vocab_size, tl.exp2(bits * _hardware_tanh(raw / softcap)), 0.0)
    log_total = tl.log2(tl.sum(total))
    tl.store(losses + row, (log_total - bits * hit) * _NATS_A_BIT)
    for first in range(0, padded_size, BLOCK):
        places = first + tl.arange(0, BLOCK)
        raw = tl.load(start + places, mask=places < vocab_size, other=0.0).to(tl.float32)
        folded = _hardware_tanh(raw / softcap)
        off = tl.exp2(bits * folded - log_total) - tl.where(places == target, 1.0, 0.0)
        gradient = tl.where(places < vocab_size, off * (1.0 - folded * folded), 0.0)
        tl.store(start + places, gradient.to(logits.dtype.element_ty), mask=places < padded_size)


@triton.jit  # type: ignore[untyped-decorator]
def _completed_rows(  # type: ignore[no-untyped-def]
    hidden, head, targets, sums, gradients, losses, units, count, width, padded_size, tiles, softcap,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """What the product could not know: each row's sum of powers, whose inverse is its unit. In such units a target's
    power less one is its power less the sum."""
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
    bits = softcap * _BITS_A_NAT
    hit = _hardware_tanh(tl.sum(products, 1) / softcap)
    tl.store(losses + rows, (tl.log2(total) - bits * hit) * _NATS_A_BIT, mask=known)
    tl.store(units + rows, 1.0 / total, mask=known)
    gradient = (tl.exp2(bits * hit) - total) * (1.0 - hit * hit)
    tl.store(gradients + wide * padded_size + target, gradient.to(gradients.dtype.element_ty), mask=known)


@triton.jit
def _hardware_tanh(x):  # type: ignore[no-untyped-def]
    """The hardware's own: wrong by 2^-11 at most, where bfloat16 logits are by 2^-9."""
    return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
