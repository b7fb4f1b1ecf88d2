"""The norm of queries and keys and their rotary positions in one kernel, and both backwards, in place (Triton).

Of all heads of a joint projection, a program some of them. A rotation leaves a norm as it is, so what comes first is
left to choose; `models.gpt.Attention` is the reference. On Hopper the product that makes the heads turns them itself.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 32  # heads of tokens that a program turns


def rotate_heads(joint: Tensor, angles: Tensor, count: int, scale: float | None, eps: float) -> Tensor:
    """Turns the first `count` heads of joint projections (B, T, heads, D) by the angles (T, D) of their positions,
    cosines beside sines, after a norm and times `scale` unless that is None; gives each head's factor (B, T, count)
    from before to after the norm, in float32."""
    rows, length, heads, size = joint.shape
    factors = torch.empty(rows, length, count, dtype=torch.float32, device=joint.device)
    _turn[_programs(factors)](
        joint, angles, factors, factors.numel(), length, count, heads, size, scale or 1.0, eps,
        NORMED=scale is not None, HALF=_half(size), ROWS=_ROWS,
    )  # fmt: skip
    return factors


def rotate_heads_backward(
    gradient: Tensor, joint: Tensor, factors: Tensor, angles: Tensor, scale: float | None
) -> None:
    """Turns the `gradient` (B, T, heads, D) by what `rotate_heads` made into the one by what it was made of."""
    _, length, heads, size = joint.shape
    _turn_back[_programs(factors)](
        gradient, joint, factors, angles, factors.numel(), length, factors.shape[2], heads, size, scale or 1.0,
        NORMED=scale is not None, HALF=_half(size), ROWS=_ROWS,
    )  # fmt: skip


def _programs(factors: Tensor) -> tuple[int]:
    return (triton.cdiv(factors.numel(), _ROWS),)


def _half(size: int) -> int:
    return int(triton.next_power_of_2(size // 2))


@triton.jit  # type: ignore[untyped-decorator]
def _turn(  # type: ignore[no-untyped-def]
    joint, angles, factors, total, length, count, heads, size, scale, eps,
    NORMED: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row, at, column, inside = _place(total, count, heads, size, HALF, ROWS)
    first, second = _pair(joint, at, column, inside, size)
    cosine, sine = _pair(angles, row // count % length * size, column, inside, size)
    factor = tl.full((ROWS,), 1.0, tl.float32)
    if NORMED:
        factor = tl.rsqrt(tl.sum(first * first + second * second, 1) / size + eps)
    tl.store(factors + row, factor, mask=row < total)
    first, second = first * (scale * factor)[:, None], second * (scale * factor)[:, None]
    _write(joint, at, column, inside, size, first * cosine + second * sine, second * cosine - first * sine)


@triton.jit  # type: ignore[untyped-decorator]
def _turn_back(  # type: ignore[no-untyped-def]
    gradient, joint, factors, angles, total, length, count, heads, size, scale,
    NORMED: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """With n what was normed and y = scale turn(n), the gradient is factor turn⁻¹(scale g - y mean(g y) / scale)."""
    row, at, column, inside = _place(total, count, heads, size, HALF, ROWS)
    first, second = _pair(gradient, at, column, inside, size)
    if NORMED:
        turned1, turned2 = _pair(joint, at, column, inside, size)
        along = (tl.sum(first * turned1 + second * turned2, 1) / (size * scale))[:, None]
        first, second = first * scale - turned1 * along, second * scale - turned2 * along
        factor = tl.load(factors + row, mask=row < total, other=0.0)[:, None]
        first, second = first * factor, second * factor
    cosine, sine = _pair(angles, row // count % length * size, column, inside, size)
    _write(gradient, at, column, inside, size, first * cosine - second * sine, second * cosine + first * sine)


@triton.jit  # type: ignore[untyped-decorator]
def _place(total, count, heads, size, HALF: tl.constexpr, ROWS: tl.constexpr):  # type: ignore[no-untyped-def]
    """The heads of a program, counted over those that are turned of all tokens; where each begins; the columns of
    their first half; where both are."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, HALF)
    at = (row // count * heads + row % count) * size
    return row, at, column, (row < total)[:, None] & (column < size // 2)[None, :]


@triton.jit
def _pair(numbers, at, column, inside, size):  # type: ignore[no-untyped-def]
    """The halves of heads that begin `at` there: number i of one is turned with number i of the other."""
    where = numbers + at[:, None] + column[None, :]
    first = tl.load(where, mask=inside, other=0.0).to(tl.float32)
    return first, tl.load(where + size // 2, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _write(numbers, at, column, inside, size, first, second):  # type: ignore[no-untyped-def]
    where = numbers + at[:, None] + column[None, :]
    tl.store(where, first.to(numbers.dtype.element_ty), mask=inside)
    tl.store(where + size // 2, second.to(numbers.dtype.element_ty), mask=inside)
