"""Conversion between matrices of Python floats and the float64 arrays of a checkpoint."""

from array import array

from engines.interfaces import Array
from engines.scalar.kernels import Matrix, Vector


def to_array(matrix: Matrix) -> Array:
    """Return a copy of a matrix as a checkpoint stores it."""
    return flat_array([x for row in matrix for x in row], (len(matrix), len(matrix[0])))


def to_matrix(stored: Array) -> Matrix:
    """Return the matrix that `to_array` stored."""
    rows, columns = stored.shape
    values = flat_values(stored)
    return [list(values[row * columns : (row + 1) * columns]) for row in range(rows)]


def flat_array(values: Vector, shape: tuple[int, int]) -> Array:
    """Return a stored array with these numbers, row by row."""
    return Array("F64", shape, array("d", values).tobytes())


def flat_values(stored: Array) -> "array[float]":
    """Return the numbers of a stored array, row by row."""
    return array("d", bytes(stored.data))
