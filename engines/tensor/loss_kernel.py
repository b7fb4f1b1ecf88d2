"""The losses of soft-capped logits and their gradients in one kernel, a program for each row (Triton); on Hopper the
product that makes the logits writes gradients itself, and a kernel completes them.

`engines.tensor.losses.head_nats` is the reference, and tests/engines/tensor/test_cuda.py compares the two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engines.tensor.product_kernel import BITS_A_NAT, hardware_tanh, powers

_LARGEST_HELD = 16_384  # logits of a row that a program holds all at once; with more it would have a processor alone
_NUMBERS_A_WARP, _FEWEST_WARPS = 1024, 4
_PORTION, _PORTION_WARPS = 8192, 16  # of a longer row
_TILE, _TILE_WARPS = 128, 8  # rows and columns that are transposed together; all measured on an H200
_ROWS, _CHANNELS = 32, 64  # whose gradients a program completes; and that it multiplies at once

_NATS_A_BIT = tl.constexpr(0.6931471805599453)  # ln 2


def losses_and_gradients(logits: Tensor, targets: Tensor, softcap: float, vocab_size: int) -> Tensor:
    """The loss (N), in float32, of each target (N); `logits` (N, padded V), raw, become its gradient by them."""
    return _losses(logits, targets, logits, softcap, vocab_size, 1.0)


def losses_and_gradients_of_head(
    hidden: Tensor, head: Tensor, targets: Tensor, softcap: float, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of hidden states (N, C) and a head (padded V, C) the losses (N), the gradients (N, padded V) by raw logits in
    multiples of a unit of each row, and these units (N)."""
    gradients, sums = powers(hidden, head, softcap, vocab_size)
    losses, units = (torch.empty(len(hidden), dtype=torch.float32, device=hidden.device) for _ in range(2))
    _completed_rows[(triton.cdiv(len(hidden), _ROWS),)](
        hidden.contiguous(), head.contiguous(), targets, sums, gradients, losses, units,
        *hidden.shape, len(head), len(sums), softcap,
        ROWS=_ROWS, CHANNELS=_CHANNELS,
    )  # fmt: skip
    return losses, gradients, units


def losses_and_gradients_in_8_bits(
    logits: Tensor, targets: Tensor, softcap: float, vocab_size: int, unit: float
) -> tuple[Tensor, Tensor]:
    """The same losses; `logits` stay, and the gradient (N, padded V) is one of e5m2, in multiples of `unit`."""
    gradients = torch.empty_like(logits, dtype=torch.float8_e5m2)
    return _losses(logits, targets, gradients, softcap, vocab_size, 1.0 / unit), gradients


def transposed(matrix: Tensor) -> Tensor:
    """A matrix (R, K) of single bytes, laid out anew (K, R) by tiles: whole lines of memory are read and written."""
    rows, columns = matrix.shape
    turned = torch.empty(columns, rows, dtype=matrix.dtype, device=matrix.device)
    tiles = triton.cdiv(rows, _TILE), triton.cdiv(columns, _TILE)
    _transposed[tiles](
        matrix.view(torch.uint8), turned.view(torch.uint8), rows, columns, TILE=_TILE, num_warps=_TILE_WARPS
    )
    return turned


def _losses(
    logits: Tensor, targets: Tensor, gradients: Tensor, softcap: float, vocab_size: int, scale: float
) -> Tensor:
    """The losses; `gradients` is written `scale` times as large."""
    count, size = logits.shape
    losses = torch.empty(count, dtype=torch.float32, device=logits.device)
    if size <= _LARGEST_HELD:
        kernel, block = _whole_rows, triton.next_power_of_2(size)
        warps = max(_FEWEST_WARPS, block // _NUMBERS_A_WARP)
    else:
        kernel, block, warps = _long_rows, _PORTION, _PORTION_WARPS
    kernel[(count,)](
        logits, targets, losses, gradients, logits.stride(0), gradients.stride(0), softcap, vocab_size, size, scale,
        BLOCK=block, num_warps=warps,
    )  # fmt: skip
    return losses


# With t = tanh(raw / softcap) and p = softmax(softcap * t) the loss of a row is -log p[target], and its gradient by a
# raw logit (p - [it is the target's]) * (1 - t²). Sums are of powers of two; no capped logit is so large that the
# largest had to be taken off first. The target's logit is read before the sum, for which all threads wait: afterwards
# another one may have put the gradient in its place.


@triton.jit
def _begun(logits, targets, stride, softcap):  # type: ignore[no-untyped-def]
    """A program's row, its target, where it starts; the bits that a tanh of one stands for; and the target's tanh."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets + row)
    start = logits + row * stride
    bits = softcap * BITS_A_NAT
    hit = hardware_tanh(tl.load(start + target).to(tl.float32) / softcap)
    return row, target, start, bits, hit


@triton.jit  # type: ignore[untyped-decorator]
def _whole_rows(  # type: ignore[no-untyped-def]
    logits, targets, losses, gradients, stride, gradient_stride, softcap, vocab_size, padded_size, scale,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """A program holds its row: every logit is read, and its tanh and power are worked out, but once."""
    row, target, start, bits, hit = _begun(logits, targets, stride, softcap)
    places = tl.arange(0, BLOCK)
    known = places < vocab_size
    folded = hardware_tanh(tl.load(start + places, mask=known, other=0.0).to(tl.float32) / softcap)
    power = tl.where(known, tl.exp2(bits * folded), 0.0)
    bent = power * (1.0 - folded * folded)
    total = tl.sum(power)
    tl.store(losses + row, (tl.log2(total) - bits * hit) * _NATS_A_BIT)
    gradient = bent * (scale / total) - tl.where(places == target, scale * (1.0 - hit * hit), 0.0)
    at = gradients + row * gradient_stride + places
    tl.store(at, gradient.to(gradients.dtype.element_ty), mask=places < padded_size)


@triton.jit  # type: ignore[untyped-decorator]
def _long_rows(  # type: ignore[no-untyped-def]
    logits, targets, losses, gradients, stride, gradient_stride, softcap, vocab_size, padded_size, scale,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """By portions, twice; the second time most of a row is in the cache."""
    row, target, start, bits, hit = _begun(logits, targets, stride, softcap)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, vocab_size, BLOCK):
        places = first + tl.arange(0, BLOCK)
        raw = tl.load(start + places, mask=places < vocab_size, other=0.0).to(tl.float32)
        total += tl.where(places < vocab_size, tl.exp2(bits * hardware_tanh(raw / softcap)), 0.0)
    log_total = tl.log2(tl.sum(total))
    tl.store(losses + row, (log_total - bits * hit) * _NATS_A_BIT)
    for first in range(0, padded_size, BLOCK):
        places = first + tl.arange(0, BLOCK)
        raw = tl.load(start + places, mask=places < vocab_size, other=0.0).to(tl.float32)
        folded = hardware_tanh(raw / softcap)
        off = tl.exp2(bits * folded - log_total) - tl.where(places == target, 1.0, 0.0)
        gradient = tl.where(places < vocab_size, scale * off * (1.0 - folded * folded), 0.0)
        at = gradients + row * gradient_stride + places
        tl.store(at, gradient.to(gradients.dtype.element_ty), mask=places < padded_size)


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
    bits = softcap * BITS_A_NAT
    hit = hardware_tanh(tl.sum(products, 1) / softcap)
    tl.store(losses + rows, (tl.log2(total) - bits * hit) * _NATS_A_BIT, mask=known)
    tl.store(units + rows, 1.0 / total, mask=known)
    gradient = (tl.exp2(bits * hit) - total) * (1.0 - hit * hit)
    tl.store(gradients + wide * padded_size + target, gradient.to(gradients.dtype.element_ty), mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def _transposed(matrix, turned, rows, columns, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    across = tl.program_id(0) * TILE + tl.arange(0, TILE)
    along = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = (across < rows)[:, None] & (along < columns)[None, :]
    tile = tl.load(matrix + across.to(tl.int64)[:, None] * columns + along[None, :], mask=inside)
    tl.store(turned + along.to(tl.int64)[:, None] * rows + across[None, :], tl.trans(tile), mask=tl.trans(inside))
