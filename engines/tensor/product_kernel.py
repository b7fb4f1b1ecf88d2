"""Products of bfloat16 matrices that end in a function of what they would be, by tiles (Triton, made for Hopper).

A kernel of its own for that function would read all of a product and write as much again; here it is applied to sums
that no memory has seen. Two programs share a processor, so that one multiplies while the other ends its tile.
Where: `engines.tensor.devices.multiplies_by_tiles`.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

# Measured on an H200, with four warps and three portions on their way.
_ROWS = _COLUMNS = 128  # of a tile of the product
_PORTION = 64  # of what is summed over, at a time
_WIDTH = 32  # columns that end together: a quarter of the tile
_GROUP = 8  # tiles below each other, whose programs share what they read of the second factor
_PROGRAMS_A_PROCESSOR = 2

BITS_A_NAT = tl.constexpr(1.4426950408889634)  # 1 / ln 2: powers are of two


def squares(a: Tensor, b: Tensor) -> Tensor:
    """relu(ab')² (N, M) of a (N, K) and b (M, K)."""
    result = a.new_empty(len(a), len(b))
    _launch(a, b, result, "squares")
    return result


def slopes(a: Tensor, b: Tensor, squared: Tensor) -> Tensor:
    """The product ab' (N, M) times the slope of relu()² where that is `squared` (N, M): 2 relu()."""
    result = torch.empty_like(squared)
    _launch(a, b, result, "slopes", squared=squared)
    return result


def powers(a: Tensor, b: Tensor, softcap: float, count: int) -> tuple[Tensor, Tensor]:
    """Of raw logits ab' (N, padded V), with t = tanh(logit / softcap) and e = exp(softcap t): e (1 - t²), zero from
    column `count` on, and the sums (tiles, N) of e, in float32, over the columns of each tile."""
    result = a.new_empty(len(a), len(b))
    sums = torch.empty(triton.cdiv(len(b), _COLUMNS), len(a), dtype=torch.float32, device=a.device)
    _launch(a, b, result, "powers", sums=sums, softcap=softcap, count=count)
    return result, sums


def _launch(
    a: Tensor,
    b: Tensor,
    result: Tensor,
    ending: str,
    squared: Tensor | None = None,
    sums: Tensor | None = None,
    softcap: float = 0.0,
    count: int = 0,
) -> None:
    programs = _PROGRAMS_A_PROCESSOR * torch.cuda.get_device_properties(a.device).multi_processor_count
    _product[(programs,)](
        _tiles(a, _ROWS, _PORTION), _tiles(b, _COLUMNS, _PORTION), _tiles(result, _ROWS, _WIDTH),
        None if squared is None else _tiles(squared, _ROWS, _WIDTH), sums,
        len(a), len(b), a.shape[1], softcap, count,
        ENDING=ending, ROWS=_ROWS, COLUMNS=_COLUMNS, PORTION=_PORTION, WIDTH=_WIDTH, GROUP=_GROUP, PROGRAMS=programs,
        num_warps=4, num_stages=3,
    )  # fmt: skip


def _tiles(matrix: Tensor, rows: int, columns: int) -> Any:
    """What the device copies tiles by."""
    return TensorDescriptor.from_tensor(matrix.contiguous(), [rows, columns])


@triton.jit  # type: ignore[untyped-decorator]
def _product(  # type: ignore[no-untyped-def]
    a, b, result, squared, sums, height, width, depth, softcap, count,
    ENDING: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, PORTION: tl.constexpr, WIDTH: tl.constexpr,
    GROUP: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """Each program works through tiles until none is left. The loops are one to the compiler, so that a tile's first
    portions are on their way while the one before it ends."""
    down, across = tl.cdiv(height, ROWS), tl.cdiv(width, COLUMNS)
    for tile in tl.range(tl.program_id(0), down * across, PROGRAMS, flatten=True):
        group = tile // (GROUP * across)
        members = min(down - group * GROUP, GROUP)
        row = (group * GROUP + tile % (GROUP * across) % members) * ROWS
        tile_column = tile % (GROUP * across) // members
        column = tile_column * COLUMNS
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for first in range(0, depth, PORTION):
            total = tl.dot(a.load([row, first]), b.load([column, first]).T, total)
        left, right = _halves(total)
        one, two = _halves(left)
        three, four = _halves(right)
        sum1 = _end(one, result, squared, row, column, softcap, count, ENDING)
        sum2 = _end(two, result, squared, row, column + WIDTH, softcap, count, ENDING)
        sum3 = _end(three, result, squared, row, column + 2 * WIDTH, softcap, count, ENDING)
        sum4 = _end(four, result, squared, row, column + 3 * WIDTH, softcap, count, ENDING)
        if ENDING == "powers":
            rows = row + tl.arange(0, ROWS)
            tl.store(sums + tile_column * height + rows, sum1 + sum2 + sum3 + sum4, mask=rows < height)


@triton.jit
def _halves(tile):  # type: ignore[no-untyped-def]
    """The left and the right one."""
    return tile.reshape(tile.shape[0], 2, tile.shape[1] // 2).permute(0, 2, 1).split()


@triton.jit  # type: ignore[untyped-decorator]
def _end(tile, result, squared, row, column, softcap, count, ENDING: tl.constexpr):  # type: ignore[no-untyped-def]
    """Writes the function of some columns; what is returned are sums of their rows, for powers."""
    sums = tl.zeros((tile.shape[0],), tl.float32)
    if ENDING == "squares":
        positive = tl.maximum(tile, 0.0)
        value = positive * positive
    elif ENDING == "slopes":
        value = 2.0 * tile * tl.sqrt(squared.load([row, column]).to(tl.float32))
    else:
        folded = hardware_tanh(tile / softcap)
        power = tl.exp2(softcap * BITS_A_NAT * folded)
        power = tl.where((column + tl.arange(0, tile.shape[1]))[None, :] < count, power, 0.0)
        value = power * (1.0 - folded * folded)
        sums = tl.sum(power, 1)
    result.store([row, column], value.to(tl.bfloat16))
    return sums


@triton.jit
def hardware_tanh(x):  # type: ignore[no-untyped-def]
    """The hardware's own: wrong by 2^-11 at most, where bfloat16 logits are by 2^-9."""
    return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
