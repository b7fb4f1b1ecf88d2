"""The norm of queries and keys and their rotary positions in one kernel, and both backwards (Triton).

Of all heads of a joint projection, a program some of them. A rotation leaves a norm as it is, so what comes first is
left to choose; `GPT._attended` is the plain form.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 32  # heads of tokens that a program turns


def turned(
    joint: Tensor, cos: Tensor, sin: Tensor, values: int, scale: float | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Of joint projections (B, T, heads, D), of which the last `values` heads are left alone: the others turned by the
    angles (T, D / 2) of their positions, after a norm and times `scale` unless that is None; and each head's factor
    (B, T, heads) from before to after the norm, in float32."""
    rows, length, heads, size = joint.shape
    result = joint.new_empty(rows, length, heads - values, size)
    factors = torch.empty(result.shape[:3], dtype=torch.float32, device=joint.device)
    _turn[_programs(factors)](
        joint, cos, sin, result, factors, factors.numel(), length, heads - values, heads, size, scale or 1.0, eps,
        NORMED=scale is not None, HALF=_half(size), ROWS=_ROWS,
    )  # fmt: skip
    return result, factors


def turn_back(
    gradient: Tensor, turned: Tensor, factors: Tensor, cos: Tensor, sin: Tensor, scale: float | None, joint: Tensor
) -> None:
    """Writes the gradient by the first heads of `joint` (B, T, heads, D), from the one by what they were turned to."""
    _, length, heads, size = turned.shape
    _turn_back[_programs(factors)](
        gradient, turned, factors, cos, sin, joint, factors.numel(), length, heads, joint.shape[2], size, scale or 1.0,
        NORMED=scale is not None, HALF=_half(size), ROWS=_ROWS,
    )  # fmt: skip


def _programs(factors: Tensor) -> tuple[int]:
    return (triton.cdiv(factors.numel(), _ROWS),)


def _half(size: int) -> int:
    return int(triton.next_power_of_2(size // 2))


@triton.jit  # type: ignore[untyped-decorator]
def _turn(  # type: ignore[no-untyped-def]
    joint, cos, sin, result, factors, count, length, heads, joint_heads, size, scale, eps,
    NORMED: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row, column, inside = _place(count, size, HALF, ROWS)
    at = (row // heads * joint_heads + row % heads) * size
    first, second = _pair(joint, at, column, inside, size)
    cosine, sine = _angles(cos, sin, row // heads % length, column, inside, size)
    factor = tl.full((ROWS,), 1.0, tl.float32)
    if NORMED:
        factor = tl.rsqrt(tl.sum(first * first + second * second, 1) / size + eps)
    tl.store(factors + row, factor, mask=row < count)
    first, second = first * (scale * factor)[:, None], second * (scale * factor)[:, None]
    _write(result, row * size, column, inside, size, first * cosine + second * sine, second * cosine - first * sine)


@triton.jit  # type: ignore[untyped-decorator]
def _turn_back(  # type: ignore[no-untyped-def]
    gradient, turned, factors, cos, sin, joint, count, length, heads, joint_heads, size, scale,
    NORMED: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """With n what was normed and y = scale turn(n), the gradient is factor turn⁻¹(scale g - y mean(g y) / scale)."""
    row, column, inside = _place(count, size, HALF, ROWS)
    first, second = _pair(gradient, row * size, column, inside, size)
    if NORMED:
        turned1, turned2 = _pair(turned, row * size, column, inside, size)
        along = (tl.sum(first * turned1 + second * turned2, 1) / (size * scale))[:, None]
        first, second = first * scale - turned1 * along, second * scale - turned2 * along
        factor = tl.load(factors + row, mask=row < count, other=0.0)[:, None]
        first, second = first * factor, second * factor
    cosine, sine = _angles(cos, sin, row // heads % length, column, inside, size)
    at = (row // heads * joint_heads + row % heads) * size
    _write(joint, at, column, inside, size, first * cosine - second * sine, second * cosine + first * sine)


@triton.jit  # type: ignore[untyped-decorator]
def _place(count, size, HALF: tl.constexpr, ROWS: tl.constexpr):  # type: ignore[no-untyped-def]
    """The heads of a program, counted over all tokens; the columns of their first half; where both are."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, HALF)
    return row, column, (row < count)[:, None] & (column < size // 2)[None, :]


@triton.jit
def _pair(numbers, at, column, inside, size):  # type: ignore[no-untyped-def]
    """The halves of heads that begin `at` there: number i of one is turned with number i of the other."""
    where = numbers + at[:, None] + column[None, :]
    first = tl.load(where, mask=inside, other=0.0).to(tl.float32)
    return first, tl.load(where + size // 2, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _angles(cos, sin, position, column, inside, size):  # type: ignore[no-untyped-def]
    at = position[:, None] * (size // 2) + column[None, :]
    cosine = tl.load(cos + at, mask=inside, other=0.0).to(tl.float32)
    return cosine, tl.load(sin + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _write(numbers, at, column, inside, size, first, second):  # type: ignore[no-untyped-def]
    where = numbers + at[:, None] + column[None, :]
    tl.store(where, first.to(numbers.dtype.element_ty), mask=inside)
    tl.store(where + size // 2, second.to(numbers.dtype.element_ty), mask=inside)
