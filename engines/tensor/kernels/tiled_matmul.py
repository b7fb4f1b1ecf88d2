"""Matrix products in bfloat16 with fused epilogues (Gluon, Triton's tile language, for Hopper GPUs).

A separate kernel for the epilogue would read the whole product and write as much again; here it is applied to the
accumulators. The kernel is warp-specialised and persistent: one warp loads chunks of both factors, another loads the
epilogue's other input, and two warp groups multiply a tile each. The second group runs behind the first, so that one
multiplies while the other computes its epilogue (CUTLASS' ping-pong schedule).
Needs `engines.tensor.devices.has_tiled_matmul`.
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
_ROWS = _COLUMNS = 128  # of a warp group's tile; the two tiles of a program are below each other
_DEPTH_CHUNK = 64  # elements of the inner dimension per load
_STAGES = 3  # loads in flight
_GROUP = 8  # programs below each other, which share loads of the second factor
_COMPUTE_REGISTERS, _LOAD_REGISTERS = 232, 24  # per thread

_LOG2_E = gl.constexpr(1.4426950408889634)  # the hardware's exponential is of base 2


def count_column_tiles(columns: int) -> int:
    """Return the number of tiles across a product with so many columns."""
    return -(-columns // _COLUMNS)


def add_matmul(a: Tensor, b: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
    """Return a @ b.T + more (N, M), for a (N, K), b (M, K) and more (N, M), and the sums (tiles, N), in float32, of its
    squares over each tile's columns."""
    result = torch.empty_like(more)
    tile_sums = torch.empty(count_column_tiles(len(b)), len(a), dtype=torch.float32, device=a.device)
    _launch(a, b, result, "add", other=more, by_row=tile_sums)
    return result, tile_sums


def relu2_matmul(a: Tensor, b: Tensor, factors: Tensor) -> Tensor:
    """Return relu(factors * a @ b.T)² (N, M), for a (N, K), b (M, K) and factors (N), in float32, of the rows."""
    result = a.new_empty(len(a), len(b))
    _launch(a, b, result, "relu2", by_row=factors)
    return result


def relu2_gradient_matmul(a: Tensor, b: Tensor, factors: Tensor, squared: Tensor) -> Tensor:
    """Return factors * a @ b.T (N, M) times the derivative of relu()², whose values are `squared` (N, M)."""
    result = torch.empty_like(squared)
    _launch(a, b, result, "relu2 gradient", other=squared, by_row=factors)
    return result


def exp_matmul(a: Tensor, b: Tensor, softcap: float, count: int) -> tuple[Tensor, Tensor]:
    """Return e * (1 - t²) (N, Vp), with t = tanh(logit / softcap), e = exp(softcap * t) and raw logits a @ b.T.

    It is zero from column `count` on. Also returns the sums (tiles, N), in float32, of e over each tile's columns.
    """
    result = a.new_empty(len(a), len(b))
    tile_sums = torch.empty(count_column_tiles(len(b)), len(a), dtype=torch.float32, device=a.device)
    _launch(a, b, result, "exp", by_row=tile_sums, scale=softcap, count=count)
    return result, tile_sums


def can_rotate_heads(head_size: int, length: int) -> bool:
    """Return whether `rotated_heads` supports these sizes: a tile is one head at consecutive positions."""
    return head_size == _COLUMNS and length % _ROWS == 0


def rotated_heads(
    a: Tensor, b: Tensor, angles: Tensor, count: int, scale: float | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Return a @ b.T (N, heads * D) with rotary embedding of the first `count` heads, for N a multiple of T.

    `angles` (T, D) are cosines, then sines. Heads are normalised first and multiplied by `scale`, unless that is None.
    Also returns the factors (N, count) of the norm, in float32.
    """
    result = a.new_empty(len(a), len(b))
    factors = torch.empty(len(a), count, dtype=torch.float32, device=a.device)
    epilogue = "rotate" if scale is None else "normalize and rotate"
    _launch(a, b, result, epilogue, other=angles, by_row=factors, scale=scale or 1.0, count=count, eps=eps)
    return result, factors


def _launch(
    a: Tensor,
    b: Tensor,
    result: Tensor,
    epilogue: str,
    by_row: Tensor,
    other: Tensor | None = None,
    scale: float = 0.0,
    count: int = 0,
    eps: float = 0.0,
) -> None:
    programs = torch.cuda.get_device_properties(a.device).multi_processor_count
    other = result if other is None else other
    _matmul_kernel[(programs,)](
        _tile_descriptor(a, _DEPTH_CHUNK), _tile_descriptor(b, _DEPTH_CHUNK),
        _tile_descriptor(result, _COLUMNS), _tile_descriptor(other, _COLUMNS), by_row,
        len(a), len(b), a.shape[1], *other.shape, scale, count, eps,
        EPILOGUE=epilogue, PROGRAMS=programs, GROUP=_GROUP, STAGES=_STAGES,
        COMPUTE_REGISTERS=_COMPUTE_REGISTERS, LOAD_REGISTERS=_LOAD_REGISTERS, num_warps=4,
    )  # fmt: skip


def _tile_descriptor(matrix: Tensor, columns: int) -> Any:
    """Return the descriptor by which the device copies tiles (TMA)."""
    layout = gl.NVMMASharedLayout.get_default_for([_ROWS, columns], gl.bfloat16)
    return TensorDescriptor.from_tensor(matrix.contiguous(), [_ROWS, columns], layout)


# --- the kernel -----------------------------------------------------------------------------------------
# Barriers: `full` when a chunk is loaded and `free` when both groups have read it, so that the first group can be as
# many chunks ahead as there are stages, and keeps its lead; `input_full` and `input_free` are the same for the
# epilogue's other input.


@gluon.jit  # type: ignore[untyped-decorator]
def _matmul_kernel(  # type: ignore[no-untyped-def]
    a, b, result, other, by_row, height, width, depth, length, input_width, scale, count, eps,
    EPILOGUE: gl.constexpr, PROGRAMS: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
    COMPUTE_REGISTERS: gl.constexpr, LOAD_REGISTERS: gl.constexpr,
):  # fmt: skip
    rows: gl.constexpr = a.block_type.shape[0]
    columns: gl.constexpr = b.block_type.shape[0]
    chunk: gl.constexpr = a.block_type.shape[1]
    a_chunks = gl.allocate_shared_memory(gl.bfloat16, [2 * STAGES, rows, chunk], a.layout)
    b_chunks = gl.allocate_shared_memory(gl.bfloat16, [STAGES, columns, chunk], b.layout)
    output_tiles = gl.allocate_shared_memory(gl.bfloat16, [2, rows, columns], result.layout)
    full, free, input_full, input_free = _barriers(STAGES, 1), _barriers(STAGES, 2), _barriers(2, 1), _barriers(2, 1)
    lead = _barriers(1, 1)
    fence_async_shared()
    sizes = height, width, depth
    pipeline = result, a_chunks, b_chunks, output_tiles, full, free, input_full, input_free, lead, sizes
    input_sizes = length, gl.cdiv(input_width, columns)
    epilogue_args = by_row, scale, count, eps
    gl.warp_specialize(
        [
            (_multiply, (0, pipeline, epilogue_args, EPILOGUE, PROGRAMS, GROUP, STAGES)),
            (_multiply, (1, pipeline, epilogue_args, EPILOGUE, PROGRAMS, GROUP, STAGES)),
            (_load_factors, (a, b, a_chunks, b_chunks, full, free, sizes, PROGRAMS, GROUP, STAGES)),
            (
                _load_epilogue_input,
                (other, output_tiles, input_full, input_free, sizes, input_sizes, EPILOGUE, PROGRAMS, GROUP),
            ),
        ],
        [4, 1, 1],
        [COMPUTE_REGISTERS, LOAD_REGISTERS, LOAD_REGISTERS],
    )


@gluon.jit  # type: ignore[untyped-decorator]
def _barriers(COUNT: gl.constexpr, ARRIVALS: gl.constexpr):  # type: ignore[no-untyped-def]
    barriers = gl.allocate_shared_memory(gl.int64, [COUNT, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(COUNT):
        mbarrier.init(barriers.index(i), count=ARRIVALS)
    return barriers


@gluon.jit  # type: ignore[untyped-decorator]
def _locate_pair(  # type: ignore[no-untyped-def]
    tile, height, width, ROWS: gl.constexpr, COLUMNS: gl.constexpr, GROUP: gl.constexpr
):
    """Return the first row of a pair of tiles, and its column of tiles."""
    down, across = gl.cdiv(height, 2 * ROWS), gl.cdiv(width, COLUMNS)
    group = tile // (GROUP * across)
    members = gl.minimum(down - group * GROUP, GROUP)
    row = (group * GROUP + tile % (GROUP * across) % members) * 2 * ROWS
    return row, tile % (GROUP * across) // members


@gluon.jit  # type: ignore[untyped-decorator]
def _count_pairs(height, width, ROWS: gl.constexpr, COLUMNS: gl.constexpr):  # type: ignore[no-untyped-def]
    """Return the number of pairs of tiles."""
    return gl.cdiv(height, 2 * ROWS) * gl.cdiv(width, COLUMNS)


@gluon.jit  # type: ignore[untyped-decorator]
def _load_factors(  # type: ignore[no-untyped-def]
    a, b, a_chunks, b_chunks, full, free, sizes,
    PROGRAMS: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    rows: gl.constexpr = a.block_type.shape[0]
    columns: gl.constexpr = b.block_type.shape[0]
    chunk: gl.constexpr = a.block_type.shape[1]
    height, width, depth = sizes
    loaded = 0
    for tile in range(gl.program_id(0), _count_pairs(height, width, rows, columns), PROGRAMS):
        row, tile_column = _locate_pair(tile, height, width, rows, columns, GROUP)
        for first in range(0, depth, chunk):
            stage = loaded % STAGES
            loaded_barrier = full.index(stage)
            mbarrier.wait(free.index(stage), loaded // STAGES & 1 ^ 1)
            mbarrier.expect(loaded_barrier, 2 * a.block_type.nbytes + b.block_type.nbytes)
            tma.async_copy_global_to_shared(a, [row, first], loaded_barrier, a_chunks.index(2 * stage))
            tma.async_copy_global_to_shared(b, [tile_column * columns, first], loaded_barrier, b_chunks.index(stage))
            tma.async_copy_global_to_shared(a, [row + rows, first], loaded_barrier, a_chunks.index(2 * stage + 1))
            loaded += 1


@gluon.jit  # type: ignore[untyped-decorator]
def _load_epilogue_input(  # type: ignore[no-untyped-def]
    other, output_tiles, input_full, input_free, sizes, input_sizes,
    EPILOGUE: gl.constexpr, PROGRAMS: gl.constexpr, GROUP: gl.constexpr,
):  # fmt: skip
    if _has_input(EPILOGUE):
        rows: gl.constexpr = output_tiles.shape[1]
        columns: gl.constexpr = output_tiles.shape[2]
        height, width, _ = sizes
        length, across = input_sizes
        for tile in range(gl.program_id(0), _count_pairs(height, width, rows, columns), PROGRAMS):
            row, tile_column = _locate_pair(tile, height, width, rows, columns, GROUP)
            for half in gl.static_range(2):
                mbarrier.wait(input_free.index(half), tile // PROGRAMS & 1)
                mbarrier.expect(input_full.index(half), other.block_type.nbytes)
                corner = [(row + half * rows) % length, tile_column % across * columns]  # the angles repeat
                tma.async_copy_global_to_shared(other, corner, input_full.index(half), output_tiles.index(half))


@gluon.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]
    HALF: gl.constexpr, pipeline, epilogue_args, EPILOGUE: gl.constexpr,
    PROGRAMS: gl.constexpr, GROUP: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    result, a_chunks, b_chunks, output_tiles, full, free, input_full, input_free, lead, sizes = pipeline
    rows: gl.constexpr = a_chunks.shape[1]
    columns: gl.constexpr = b_chunks.shape[1]
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, columns, 16])
    height, width, depth = sizes
    chunks = gl.cdiv(depth, a_chunks.shape[2])
    end = output_tiles.index(HALF)
    read = 0
    for tile in range(gl.program_id(0), _count_pairs(height, width, rows, columns), PROGRAMS):
        row, tile_column = _locate_pair(tile, height, width, rows, columns, GROUP)
        row += HALF * rows
        if HALF:
            mbarrier.wait(lead.index(0), 0)
        total = gl.zeros([rows, columns], gl.float32, layout)
        for chunk in range(chunks):
            stage = read % STAGES
            mbarrier.wait(full.index(stage), read // STAGES & 1)
            a, b = a_chunks.index(2 * stage + HALF), b_chunks.index(stage).permute((1, 0))
            total = warpgroup_mma(a, b, total, use_acc=chunk > 0, is_async=True)
            total = warpgroup_mma_wait(num_outstanding=1, deps=[total])
            mbarrier.arrive(free.index((read + STAGES - 1) % STAGES), pred=chunk > 0)
            if _has_input(EPILOGUE) and chunk == 0:
                tma.store_wait(0)  # of the previous tile: this tile's input is loaded into the same memory
                mbarrier.arrive(input_free.index(HALF))
            if not HALF:
                mbarrier.arrive(lead.index(0), pred=read == gl.minimum(chunks, STAGES) - 1)
            read += 1
        total = warpgroup_mma_wait(num_outstanding=0, deps=[total])
        mbarrier.arrive(free.index((read + STAGES - 1) % STAGES))
        if _has_input(EPILOGUE):
            mbarrier.wait(input_full.index(HALF), tile // PROGRAMS & 1)
        else:
            tma.store_wait(0)
        value = _apply_epilogue(total, end, row, tile_column, height, epilogue_args, EPILOGUE)
        end.store(value.to(gl.bfloat16))
        fence_async_shared()
        tma.async_copy_shared_to_global(result, [row, tile_column * columns], end)
    tma.store_wait(0)


@gluon.constexpr_function  # type: ignore[untyped-decorator]
def _has_input(epilogue: str) -> bool:
    """Return whether the epilogue has another input."""
    return epilogue not in ("relu2", "exp")


# --- the epilogues -----------------------------------------------------------------------------------------


@gluon.jit  # type: ignore[untyped-decorator]
def _apply_epilogue(  # type: ignore[no-untyped-def]
    total, end, row, tile_column, height, epilogue_args, EPILOGUE: gl.constexpr
):
    by_row, scale, count, eps = epilogue_args
    rows = row + gl.arange(0, total.shape[0], gl.SliceLayout(1, total.type.layout))
    is_row = rows < height
    if EPILOGUE == "add":
        value = total + end.load(total.type.layout).to(gl.float32)
        gl.store(by_row + tile_column * height + rows, gl.sum(value * value, 1), mask=is_row)
    elif EPILOGUE == "relu2":
        positive = gl.maximum(total * gl.load(by_row + rows, mask=is_row)[:, None], 0.0)
        value = positive * positive
    elif EPILOGUE == "relu2 gradient":
        relu = gl.sqrt(end.load(total.type.layout).to(gl.float32))
        value = total * (2.0 * gl.load(by_row + rows, mask=is_row))[:, None] * relu
    elif EPILOGUE == "exp":
        capped = _tanh_approx(total * (1.0 / scale))
        columns = tile_column * total.shape[1] + gl.arange(0, total.shape[1], gl.SliceLayout(0, total.type.layout))
        exponential = gl.where((columns < count)[None, :], _exp2_approx(capped * (scale * _LOG2_E)), 0.0)
        gl.store(by_row + tile_column * height + rows, gl.sum(exponential, 1), mask=is_row)
        value = exponential * (1.0 - capped * capped)
    else:
        value = total
        if tile_column < count:
            if EPILOGUE == "normalize and rotate":
                factors = gl.rsqrt(gl.sum(total * total, 1) / total.shape[1] + eps)
                gl.store(by_row + rows * count + tile_column, factors, mask=is_row)
                value = total * (scale * factors)[:, None]
            first, second = _split_halves(value)
            cosine, sine = _split_halves(end.load(total.type.layout).to(gl.float32))
            rotated = gl.join(first * cosine + second * sine, second * cosine - first * sine)
            value = gl.convert_layout(rotated.permute((0, 2, 1)).reshape(total.shape), total.type.layout)
    return value


@gluon.jit
def _split_halves(tile):  # type: ignore[no-untyped-def]
    """Return the halves of heads; channel i of the first is rotated with channel i of the second."""
    return tile.reshape((tile.shape[0], 2, tile.shape[1] // 2)).permute((0, 2, 1)).split()


@gluon.jit
def _tanh_approx(x):  # type: ignore[no-untyped-def]
    """Return tanh with an error of at most 2^-11; bfloat16 logits have 2^-9."""
    return gl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def _exp2_approx(x):  # type: ignore[no-untyped-def]
    """Return 2 to the power of x, flushing denormal results to zero."""
    return gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)
