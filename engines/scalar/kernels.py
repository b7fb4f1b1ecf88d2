"""The one primitive of the engine: products of matrices of Python floats, written out for each length.

A kernel for length 3 reads

    def product(left, right):
        result = []
        for a0, a1, a2 in left:
            row = []
            append = row.append
            for b0, b1, b2 in right:
                append(a0*b0 + a1*b1 + a2*b2)
            result.append(row)
        return result

Unpacking rows into local names is several times faster than indexing them (in a nested comprehension they would be
cells, which are slower), and the terms are added from left to
right. `sum` is no substitute: since Python 3.12 it compensates rounding, so last bits would differ between versions.
"""

import functools
from collections.abc import Callable

Vector = list[float]
Matrix = list[Vector]
_MOST_TERMS = 64  # in one expression; longer rows are multiplied in blocks, as long expressions nest too deep


def product(left: Matrix, right: Matrix) -> Matrix:
    """left · rightᵀ: (n, k) and (m, k) give (n, m)."""
    if not left or not right:
        return [[] for _ in left]
    length = len(right[0])
    if length <= _MOST_TERMS:
        return _kernel(length)(left, right)
    total = product([row[:_MOST_TERMS] for row in left], [row[:_MOST_TERMS] for row in right])
    for begin in range(_MOST_TERMS, length, _MOST_TERMS):
        end = begin + _MOST_TERMS
        add_to(total, product([row[begin:end] for row in left], [row[begin:end] for row in right]))
    return total


def transposed(matrix: Matrix) -> Matrix:
    return list(map(list, zip(*matrix, strict=True)))


def add_to(total: Matrix, addend: Matrix) -> None:
    """total += addend."""
    for row, extra in zip(total, addend, strict=True):
        row[:] = [a + b for a, b in zip(row, extra, strict=True)]


def zeros_like(matrix: Matrix) -> Matrix:
    return [[0.0] * len(row) for row in matrix]


@functools.cache
def _kernel(length: int) -> Callable[[Matrix, Matrix], Matrix]:
    lefts = "".join(f"a{i}," for i in range(length))
    rights = "".join(f"b{i}," for i in range(length))
    terms = "+".join(f"a{i}*b{i}" for i in range(length))
    source = f"""
def product(left, right):
    result = []
    for {lefts} in left:
        row = []
        append = row.append
        for {rights} in right:
            append({terms})
        result.append(row)
    return result
"""
    namespace: dict[str, Callable[[Matrix, Matrix], Matrix]] = {}
    exec(source, namespace)
    return namespace["product"]
