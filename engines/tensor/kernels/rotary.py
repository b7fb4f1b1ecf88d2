"""RMS norm and rotary embedding of queries and keys in one kernel, and their backward pass, in place (Triton).

Each program handles some heads of a joint projection. The order of norm and rotation does not matter.
The reference is `models.gpt.Attention`. On Hopper `tiled_matmul.rotated_heads` fuses this with the projection.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 32  # heads per program


def rotate_heads(joint: Tensor, angles: Tensor, count: int, scale: float | None, eps: float) -> Tensor:
    """Rotate the first `count` heads of joint projections (B, T, heads, D) in place.

    `angles` (T, D) are the cosines, then the sines of the positions' angles.
    Heads are normalised first and multiplied by `scale`, unless that is None. Returns the factors (B, T, count) of the
    norm, in float32.
    """
    rows, length, heads, size = joint.shape
    factors = torch.empty(rows, length, count, dtype=torch.float32, device=joint.device)
    _rotate_kernel[_programs(factors)](
        joint, angles, factors, factors.numel(), length, count, heads, size, scale or 1.0, eps,
        NORMALIZE=scale is not None, HALF=_half(size), ROWS=_ROWS,
    )  # fmt: skip
    return factors


def rotate_heads_backward(
    gradient: Tensor, joint: Tensor, factors: Tensor, angles: Tensor, scale: float | None
) -> None:
    """Replace the `gradient` (B, T, heads, D) by the rotated heads with that by the original ones."""
    _, length, heads, size = joint.shape
    _rotate_backward_kernel[_programs(factors)](
        gradient, joint, factors, angles, factors.numel(), length, factors.shape[2], heads, size, scale or 1.0,
        NORMALIZE=scale is not None, HALF=_half(size), ROWS=_ROWS,
    )  # fmt: skip


def _programs(factors: Tensor) -> tuple[int]:
    return (triton.cdiv(factors.numel(), _ROWS),)


def _half(size: int) -> int:
    return int(triton.next_power_of_2(size // 2))


@triton.jit  # type: ignore[untyped-decorator]
def _rotate_kernel(  # type: ignore[no-untyped-def]
    joint, angles, factors, total, length, count, heads, size, scale, eps,
    NORMALIZE: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row, at, column, inside = _locate_heads(total, count, heads, size, HALF, ROWS)
    first, second = _load_halves(joint, at, column, inside, size)
    cosine, sine = _load_halves(angles, row // count % length * size, column, inside, size)
    factor = tl.full((ROWS,), 1.0, tl.float32)
    if NORMALIZE:
        factor = tl.rsqrt(tl.sum(first * first + second * second, 1) / size + eps)
    tl.store(factors + row, factor, mask=row < total)
    first, second = first * (scale * factor)[:, None], second * (scale * factor)[:, None]
    _store_halves(joint, at, column, inside, size, first * cosine + second * sine, second * cosine - first * sine)


@triton.jit  # type: ignore[untyped-decorator]
def _rotate_backward_kernel(  # type: ignore[no-untyped-def]
    gradient, joint, factors, angles, total, length, count, heads, size, scale,
    NORMALIZE: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """With y = scale * rotate(n) and n the normalised heads, the gradient is
    factor * rotate⁻¹(scale * g - y * mean(g * y) / scale)."""
    row, at, column, inside = _locate_heads(total, count, heads, size, HALF, ROWS)
    first, second = _load_halves(gradient, at, column, inside, size)
    if NORMALIZE:
        rotated1, rotated2 = _load_halves(joint, at, column, inside, size)
        along = (tl.sum(first * rotated1 + second * rotated2, 1) / (size * scale))[:, None]
        first, second = first * scale - rotated1 * along, second * scale - rotated2 * along
        factor = tl.load(factors + row, mask=row < total, other=0.0)[:, None]
        first, second = first * factor, second * factor
    cosine, sine = _load_halves(angles, row // count % length * size, column, inside, size)
    _store_halves(gradient, at, column, inside, size, first * cosine - second * sine, second * cosine + first * sine)


@triton.jit  # type: ignore[untyped-decorator]
def _locate_heads(total, count, heads, size, HALF: tl.constexpr, ROWS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return a program's heads, counted over the rotated ones of all tokens; their offsets; the channels of their first
    half; and the mask of valid elements."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, HALF)
    at = (row // count * heads + row % count) * size
    return row, at, column, (row < total)[:, None] & (column < size // 2)[None, :]


@triton.jit
def _load_halves(numbers, at, column, inside, size):  # type: ignore[no-untyped-def]
    """Load both halves of heads at offsets `at`; channel i of one is rotated with channel i of the other."""
    where = numbers + at[:, None] + column[None, :]
    first = tl.load(where, mask=inside, other=0.0).to(tl.float32)
    return first, tl.load(where + size // 2, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _store_halves(numbers, at, column, inside, size, first, second):  # type: ignore[no-untyped-def]
    where = numbers + at[:, None] + column[None, :]
    tl.store(where, first.to(numbers.dtype.element_ty), mask=inside)
    tl.store(where + size // 2, second.to(numbers.dtype.element_ty), mask=inside)
