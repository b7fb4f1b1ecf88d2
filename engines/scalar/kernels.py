"""Arithmetic on matrices that are lists of rows of Python floats.

The one operation that costs time is the matrix product. It runs in code that is generated for each row length, such as

    def matmul_transposed(left, right):
        result = []
        for a0, a1, a2 in left:
            row = []
            for b0, b1, b2 in right:
                row.append(a0*b0 + a1*b1 + a2*b2)
            result.append(row)
        return result

Unpacking a row into local variables is several times faster than indexing it. A nested comprehension would be slower,
because its variables are cells. The terms are added from left to right. `sum` is not used because it compensates for
rounding since Python 3.12, so that the last bits would differ between versions.
"""

import functools
import math
from collections.abc import Callable, Sequence

Vector = list[float]
Matrix = list[Vector]
_MAX_TERMS = 64  # in one generated expression, since long expressions exceed the parser's nesting limit


def matmul_transposed(left: Matrix, right: Matrix) -> Matrix:
    """Return left · rightᵀ: (N, K) and (M, K) give (N, M)."""
    if not left or not right:
        return [[] for _ in left]
    length = len(right[0])
    if length <= _MAX_TERMS:
        return _compile_kernel(length)(left, right)
    total = matmul_transposed([row[:_MAX_TERMS] for row in left], [row[:_MAX_TERMS] for row in right])
    for begin in range(_MAX_TERMS, length, _MAX_TERMS):
        end = begin + _MAX_TERMS
        add_inplace(total, matmul_transposed([row[begin:end] for row in left], [row[begin:end] for row in right]))
    return total


@functools.cache
def _compile_kernel(length: int) -> Callable[[Matrix, Matrix], Matrix]:
    """Return the product of matrices whose rows have this length."""
    source = f"""
def matmul_transposed(left, right):
    result = []
    for {_name_columns("a", length)} in left:
        row = []
        for {_name_columns("b", length)} in right:
            row.append({_write_dot(length)})
        result.append(row)
    return result
"""
    namespace: dict[str, Callable[[Matrix, Matrix], Matrix]] = {}
    exec(source, namespace)
    return namespace["matmul_transposed"]


def dot(left: Vector, right: Vector) -> float:
    """Return the sum of the products of two rows."""
    if len(left) <= _MAX_TERMS:
        return _compile_dot(len(left))(left, right)
    return matmul_transposed([left], [right])[0][0]


@functools.cache
def _compile_dot(length: int) -> Callable[[Vector, Vector], float]:
    """Return the dot product of rows of this length."""
    source = f"""
def dot(left, right):
    {_name_columns("a", length)} = left
    {_name_columns("b", length)} = right
    return {_write_dot(length)}
"""
    namespace: dict[str, Callable[[Vector, Vector], float]] = {}
    exec(source, namespace)
    return namespace["dot"]


def _name_columns(letter: str, length: int) -> str:
    return "".join(f"{letter}{i}," for i in range(length))


def _write_dot(length: int) -> str:
    return "+".join(f"a{i}*b{i}" for i in range(length))


def transpose(matrix: Matrix) -> Matrix:
    """Return the matrix with rows and columns exchanged."""
    return list(map(list, zip(*matrix, strict=True)))


def add_inplace(total: Matrix, addend: Matrix) -> None:
    """Add a matrix to `total`."""
    for row, extra in zip(total, addend, strict=True):
        row[:] = [a + b for a, b in zip(row, extra, strict=True)]


def zeros_like(matrix: Matrix) -> Matrix:
    """Return a matrix of zeros with the shape of another."""
    return [[0.0] * len(row) for row in matrix]


def concatenate_columns(matrices: Sequence[Matrix]) -> Matrix:
    """Join matrices of the same number of rows into one with longer rows."""
    return [[value for row in rows for value in row] for rows in zip(*matrices, strict=True)]


def softmax(row: Sequence[float]) -> Vector:
    """Return exp(x) / Σ exp(x)."""
    exponentials, total, _ = exponentiate(row)
    return [value / total for value in exponentials]


def logsumexp(row: Sequence[float]) -> float:
    """Return log Σ exp(x)."""
    _, total, highest = exponentiate(row)
    return highest + math.log(total)


def exponentiate(row: Sequence[float]) -> tuple[Vector, float, float]:
    """Return exp(x − max x), their sum, and max x. The maximum is subtracted so that nothing overflows."""
    highest = max(row)
    exponentials = [math.exp(value - highest) for value in row]
    total = 0.0
    for value in exponentials:
        total += value
    return exponentials, total, highest
