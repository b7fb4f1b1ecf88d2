"""Products of bfloat16 matrices that end in a function of what they would be, by tiles (Triton's Gluon, for Hopper).

A kernel of its own for that function would read all of a product and write as much again; here it is applied to sums
that no memory has seen. Of a program one warp fetches portions of both factors and another what the function reads
besides; two groups of four warps multiply them, a tile each, and the second is behind the first, so that one multiplies
while the other ends its tile. CUTLASS calls that a ping-pong kernel.
Where: `engines.tensor.devices.multiplies_by_tiles`.
"""

from typing import Any

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

# Measured on an H200.
_ROWS = _COLUMNS = 128  # of the tile of a group; the two of a program are below each other
_PORTION = 64  # of what is summed over, at a time
_STAGES = 3  # portions on their way
_GROUP = 8  # programs below each other, which share what they read of the second factor
_REGISTERS, _FEW_REGISTERS = 232, 24  # of a thread that multiplies, and that fetches

_BITS_A_NAT = gl.constexpr(1.4426950408889634)  # 1 / ln 2: powers are of two


def count_column_tiles(columns: int) -> int:
    """That a product of so many columns has beside each other."""
    return -(-columns // _COLUMNS)


def add_matmul(a: Tensor, b: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """ab' + more (N, M) of a (N, K), b (M, K) and more (N, M); and the sums (tiles, N) of its squares, in float32, over
    the columns of each tile."""
    result = torch.empty_like(more)
    by_tile = torch.empty(count_column_tiles(len(b)), len(a), dtype=torch.float32, device=a.device)
    _launch(a, b, result, "sums", beside=more, by_row=by_tile)
    return result, by_tile


def relu2_matmul(a: Tensor, b: Tensor, factors: Tensor) -> Tensor:
    """relu(factors ab')² (N, M) of a (N, K), b (M, K) and a factor (N), in float32, of each row."""
    result = a.new_empty(len(a), len(b))
    _launch(a, b, result, "squares", by_row=factors)
    return result


def relu2_gradient_matmul(a: Tensor, b: Tensor, factors: Tensor, squared: Tensor) -> Tensor:
    """The product factors ab' (N, M) times the slope of relu()² where that is `squared` (N, M): 2 relu()."""
    result = torch.empty_like(squared)
    _launch(a, b, result, "slopes", beside=squared, by_row=factors)
    return result


def exp_matmul(a: Tensor, b: Tensor, softcap: float, count: int) -> tuple[Tensor, Tensor]:
    """Of raw logits ab' (N, padded V), with t = tanh(logit / softcap) and e = exp(softcap t): e (1 - t²), zero from
    column `count` on, and the sums (tiles, N) of e, in float32, over the columns of each tile."""
    result = a.new_empty(len(a), len(b))
    by_tile = torch.empty(count_column_tiles(len(b)), len(a), dtype=torch.float32, device=a.device)
    _launch(a, b, result, "powers", by_row=by_tile, scale=softcap, count=count)
    return result, by_tile


def can_rotate_heads(head_size: int, length: int) -> bool:
    """Whether `rotated_heads` can: a tile is one head of positions that follow each other."""
    return head_size == _COLUMNS and length % _ROWS == 0


def rotated_heads(
    a: Tensor, b: Tensor, angles: Tensor, count: int, scale: float | None, eps: float
) -> tuple[Tensor, Tensor]:
    """The product ab' (N, heads D), of which the first `count` heads are turned by the `angles` (T, D) of their
    positions, which go round, cosines beside sines, after a norm and times `scale` unless that is None; and the factor
    (N, count) from before to after the norm, in float32."""
    result = a.new_empty(len(a), len(b))
    factors = torch.empty(len(a), count, dtype=torch.float32, device=a.device)
    ending = "turned" if scale is None else "normed and turned"
    _launch(a, b, result, ending, beside=angles, by_row=factors, scale=scale or 1.0, count=count, eps=eps)
    return result, factors


def _launch(
    a: Tensor,
    b: Tensor,
    result: Tensor,
    ending: str,
    by_row: Tensor,
    beside: Tensor | None = None,
    scale: float = 0.0,
    count: int = 0,
    eps: float = 0.0,
) -> None:
    programs = torch.cuda.get_device_properties(a.device).multi_processor_count
    beside = result if beside is None else beside
    _product[(programs,)](
        _tiles(a, _PORTION), _tiles(b, _PORTION), _tiles(result, _COLUMNS), _tiles(beside, _COLUMNS), by_row,
        len(a), len(b), a.shape[1], *beside.shape, scale, count, eps,
        ENDING=ending, PROGRAMS=programs, GROUP=_GROUP, STAGES=_STAGES,
        REGISTERS=_REGISTERS, FEW_REGISTERS=_FEW_REGISTERS, num_warps=4,
    )  # fmt: skip


def _tiles(matrix: Tensor, columns: int) -> Any:
    """What the device copies tiles by."""
    layout = gl.NVMMASharedLayout.get_default_for([_ROWS, columns], gl.bfloat16)
    return TensorDescriptor.from_tensor(matrix.contiguous(), [_ROWS, columns], layout)


# --- the program -----------------------------------------------------------------------------------------
# Barriers: `full` when a portion has come and `free` when both groups have read it, so that the first group can be as
# many portions ahead as there are stages, and keeps the lead that it is given; `has_come` and `is_free` are the same
# of what a group's ending reads.


@gluon.jit  # type: ignore[untyped-decorator]
def _product(  # type: ignore[no-untyped-def]
    a, b, result, beside, by_row, height, width, depth, length, beside_width, scale, count, eps,
    ENDING: gl.constexpr, PROGRAMS: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
    REGISTERS: gl.constexpr, FEW_REGISTERS: gl.constexpr,
):  # fmt: skip
    rows: gl.constexpr = a.block_type.shape[0]
    columns: gl.constexpr = b.block_type.shape[0]
    portion: gl.constexpr = a.block_type.shape[1]
    a_portions = gl.allocate_shared_memory(gl.bfloat16, [2 * STAGES, rows, portion], a.layout)
    b_portions = gl.allocate_shared_memory(gl.bfloat16, [STAGES, columns, portion], b.layout)
    ends = gl.allocate_shared_memory(gl.bfloat16, [2, rows, columns], result.layout)
    full, free, has_come, is_free = _barriers(STAGES, 1), _barriers(STAGES, 2), _barriers(2, 1), _barriers(2, 1)
    lead = _barriers(1, 1)
    fence_async_shared()
    sizes = height, width, depth
    multiplied = result, a_portions, b_portions, ends, full, free, has_come, is_free, lead, sizes
    beside_sizes = length, gl.cdiv(beside_width, columns)
    ended = by_row, scale, count, eps
    gl.warp_specialize(
        [
            (_multiply, (0, multiplied, ended, ENDING, PROGRAMS, GROUP, STAGES)),
            (_multiply, (1, multiplied, ended, ENDING, PROGRAMS, GROUP, STAGES)),
            (_fetch, (a, b, a_portions, b_portions, full, free, sizes, PROGRAMS, GROUP, STAGES)),
            (_fetch_beside, (beside, ends, has_come, is_free, sizes, beside_sizes, ENDING, PROGRAMS, GROUP)),
        ],
        [4, 1, 1],
        [REGISTERS, FEW_REGISTERS, FEW_REGISTERS],
    )


@gluon.jit  # type: ignore[untyped-decorator]
def _barriers(COUNT: gl.constexpr, ARRIVALS: gl.constexpr):  # type: ignore[no-untyped-def]
    barriers = gl.allocate_shared_memory(gl.int64, [COUNT, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(COUNT):
        mbarrier.init(barriers.index(i), count=ARRIVALS)
    return barriers


@gluon.jit  # type: ignore[untyped-decorator]
def _place(tile, height, width, ROWS: gl.constexpr, COLUMNS: gl.constexpr, GROUP: gl.constexpr):  # type: ignore[no-untyped-def]
    """Where the two tiles of a pair begin, and how many columns of tiles come before."""
    down, across = gl.cdiv(height, 2 * ROWS), gl.cdiv(width, COLUMNS)
    group = tile // (GROUP * across)
    members = gl.minimum(down - group * GROUP, GROUP)
    row = (group * GROUP + tile % (GROUP * across) % members) * 2 * ROWS
    return row, tile % (GROUP * across) // members


@gluon.jit  # type: ignore[untyped-decorator]
def _pairs(height, width, ROWS: gl.constexpr, COLUMNS: gl.constexpr):  # type: ignore[no-untyped-def]
    """Of tiles, in all."""
    return gl.cdiv(height, 2 * ROWS) * gl.cdiv(width, COLUMNS)


@gluon.jit  # type: ignore[untyped-decorator]
def _fetch(  # type: ignore[no-untyped-def]
    a, b, a_portions, b_portions, full, free, sizes,
    PROGRAMS: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    rows: gl.constexpr = a.block_type.shape[0]
    columns: gl.constexpr = b.block_type.shape[0]
    portion: gl.constexpr = a.block_type.shape[1]
    height, width, depth = sizes
    fetched = 0
    for tile in range(gl.program_id(0), _pairs(height, width, rows, columns), PROGRAMS):
        row, tile_column = _place(tile, height, width, rows, columns, GROUP)
        for first in range(0, depth, portion):
            stage = fetched % STAGES
            came = full.index(stage)
            mbarrier.wait(free.index(stage), fetched // STAGES & 1 ^ 1)
            mbarrier.expect(came, 2 * a.block_type.nbytes + b.block_type.nbytes)
            tma.async_copy_global_to_shared(a, [row, first], came, a_portions.index(2 * stage))
            tma.async_copy_global_to_shared(b, [tile_column * columns, first], came, b_portions.index(stage))
            tma.async_copy_global_to_shared(a, [row + rows, first], came, a_portions.index(2 * stage + 1))
            fetched += 1


@gluon.jit  # type: ignore[untyped-decorator]
def _fetch_beside(  # type: ignore[no-untyped-def]
    beside, ends, has_come, is_free, sizes, beside_sizes,
    ENDING: gl.constexpr, PROGRAMS: gl.constexpr, GROUP: gl.constexpr,
):  # fmt: skip
    if _reads(ENDING):
        rows: gl.constexpr = ends.shape[1]
        columns: gl.constexpr = ends.shape[2]
        height, width, _ = sizes
        length, across = beside_sizes
        for tile in range(gl.program_id(0), _pairs(height, width, rows, columns), PROGRAMS):
            row, tile_column = _place(tile, height, width, rows, columns, GROUP)
            for half in gl.static_range(2):
                mbarrier.wait(is_free.index(half), tile // PROGRAMS & 1)
                mbarrier.expect(has_come.index(half), beside.block_type.nbytes)
                corner = [(row + half * rows) % length, tile_column % across * columns]  # angles go round
                tma.async_copy_global_to_shared(beside, corner, has_come.index(half), ends.index(half))


@gluon.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]
    HALF: gl.constexpr, multiplied, ended, ENDING: gl.constexpr,
    PROGRAMS: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    result, a_portions, b_portions, ends, full, free, has_come, is_free, lead, sizes = multiplied
    rows: gl.constexpr = a_portions.shape[1]
    columns: gl.constexpr = b_portions.shape[1]
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, columns, 16])
    height, width, depth = sizes
    portions = gl.cdiv(depth, a_portions.shape[2])
    end = ends.index(HALF)
    read = 0
    for tile in range(gl.program_id(0), _pairs(height, width, rows, columns), PROGRAMS):
        row, tile_column = _place(tile, height, width, rows, columns, GROUP)
        row += HALF * rows
        if HALF:
            mbarrier.wait(lead.index(0), 0)
        total = gl.zeros([rows, columns], gl.float32, layout)
        for portion in range(portions):
            stage = read % STAGES
            mbarrier.wait(full.index(stage), read // STAGES & 1)
            a, b = a_portions.index(2 * stage + HALF), b_portions.index(stage).permute((1, 0))
            total = warpgroup_mma(a, b, total, use_acc=portion > 0, is_async=True)
            total = warpgroup_mma_wait(num_outstanding=1, deps=[total])
            mbarrier.arrive(free.index((read + STAGES - 1) % STAGES), pred=portion > 0)
            if _reads(ENDING) and portion == 0:
                tma.store_wait(0)  # of the tile before, which lies where what this one reads will come
                mbarrier.arrive(is_free.index(HALF))
            if not HALF:
                mbarrier.arrive(lead.index(0), pred=read == gl.minimum(portions, STAGES) - 1)
            read += 1
        total = warpgroup_mma_wait(num_outstanding=0, deps=[total])
        mbarrier.arrive(free.index((read + STAGES - 1) % STAGES))
        if _reads(ENDING):
            mbarrier.wait(has_come.index(HALF), tile // PROGRAMS & 1)
        else:
            tma.store_wait(0)
        value = _ended(total, end, row, tile_column, height, ended, ENDING)
        end.store(value.to(gl.bfloat16))
        fence_async_shared()
        tma.async_copy_shared_to_global(result, [row, tile_column * columns], end)
    tma.store_wait(0)


@gluon.constexpr_function  # type: ignore[untyped-decorator]
def _reads(ending: str) -> bool:
    """Whether the function reads a tile besides."""
    return ending not in ("squares", "powers")


# --- the endings -----------------------------------------------------------------------------------------


@gluon.jit  # type: ignore[untyped-decorator]
def _ended(total, end, row, tile_column, height, ended, ENDING: gl.constexpr):  # type: ignore[no-untyped-def]
    by_row, scale, count, eps = ended
    rows = row + gl.arange(0, total.shape[0], gl.SliceLayout(1, total.type.layout))
    here = rows < height
    if ENDING == "sums":
        value = total + end.load(total.type.layout).to(gl.float32)
        gl.store(by_row + tile_column * height + rows, gl.sum(value * value, 1), mask=here)
    elif ENDING == "squares":
        positive = gl.maximum(total * gl.load(by_row + rows, mask=here)[:, None], 0.0)
        value = positive * positive
    elif ENDING == "slopes":
        relu = gl.sqrt(end.load(total.type.layout).to(gl.float32))
        value = total * (2.0 * gl.load(by_row + rows, mask=here))[:, None] * relu
    elif ENDING == "powers":
        folded = _hardware_tanh(total * (1.0 / scale))
        columns = tile_column * total.shape[1] + gl.arange(0, total.shape[1], gl.SliceLayout(0, total.type.layout))
        power = gl.where((columns < count)[None, :], _hardware_power(folded * (scale * _BITS_A_NAT)), 0.0)
        gl.store(by_row + tile_column * height + rows, gl.sum(power, 1), mask=here)
        value = power * (1.0 - folded * folded)
    else:
        value = total
        if tile_column < count:
            if ENDING == "normed and turned":
                factors = gl.rsqrt(gl.sum(total * total, 1) / total.shape[1] + eps)
                gl.store(by_row + rows * count + tile_column, factors, mask=here)
                value = total * (scale * factors)[:, None]
            first, second = _halves(value)
            cosine, sine = _halves(end.load(total.type.layout).to(gl.float32))
            turned = gl.join(first * cosine + second * sine, second * cosine - first * sine)
            value = gl.convert_layout(turned.permute((0, 2, 1)).reshape(total.shape), total.type.layout)
    return value


@gluon.jit
def _halves(tile):  # type: ignore[no-untyped-def]
    """Number i of the first is turned with number i of the second."""
    return tile.reshape((tile.shape[0], 2, tile.shape[1] // 2)).permute((0, 2, 1)).split()


@gluon.jit
def _hardware_tanh(x):  # type: ignore[no-untyped-def]
    """The hardware's own: wrong by 2^-11 at most, where bfloat16 logits are by 2^-9."""
    return gl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def _hardware_power(x):  # type: ignore[no-untyped-def]
    """2 to the power of x, for results that float32 holds without leading zeros."""
    return gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)
