"""SGD and AdamW on lists of rows of floats, in place."""

import math
from array import array

from engines.safetensors import Array

Matrix = list[list[float]]


class SGD:
    """p -= lr * g."""

    def __init__(self, parameters: dict[str, Matrix]) -> None:
        self._parameters = parameters

    def update(self, gradients: dict[str, Matrix], lr: float) -> None:
        for name, matrix in self._parameters.items():
            for row, gradient in zip(matrix, gradients[name], strict=True):
                row[:] = [p - lr * g for p, g in zip(row, gradient, strict=True)]

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        return {}, {}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        pass


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p -= lr * (m / (sqrt(v) + eps) + decay * p),
    with m and v corrected for their start at zero."""

    def __init__(
        self, parameters: dict[str, Matrix], beta1: float, beta2: float, eps: float, weight_decay: float
    ) -> None:
        self._parameters = parameters
        self._beta1, self._beta2, self._eps, self._decay = beta1, beta2, eps, weight_decay
        self._updates = 0
        self._means = {name: _zeros_like(matrix) for name, matrix in parameters.items()}
        self._squares = {name: _zeros_like(matrix) for name, matrix in parameters.items()}

    def update(self, gradients: dict[str, Matrix], lr: float) -> None:
        self._updates += 1
        mean_scale = 1.0 / (1.0 - self._beta1**self._updates)
        square_scale = 1.0 / (1.0 - self._beta2**self._updates)
        b1, b2, eps = self._beta1, self._beta2, self._eps
        a1, a2, keep, sqrt = 1.0 - b1, 1.0 - b2, 1.0 - lr * self._decay, math.sqrt
        for name, matrix in self._parameters.items():
            rows = zip(matrix, gradients[name], self._means[name], self._squares[name], strict=True)
            for row, gradient, means, squares in rows:
                means[:] = [b1 * m + a1 * g for m, g in zip(means, gradient, strict=True)]
                squares[:] = [b2 * v + a2 * g * g for v, g in zip(squares, gradient, strict=True)]
                row[:] = [
                    p * keep - lr * (m * mean_scale) / (sqrt(v * square_scale) + eps)
                    for p, m, v in zip(row, means, squares, strict=True)
                ]

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        arrays = {f"mean.{name}": to_array(matrix) for name, matrix in self._means.items()}
        arrays |= {f"square.{name}": to_array(matrix) for name, matrix in self._squares.items()}
        return arrays, {"updates": self._updates}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        self._updates = counters["updates"]
        for name in self._parameters:
            self._means[name] = to_matrix(arrays[f"mean.{name}"])
            self._squares[name] = to_matrix(arrays[f"square.{name}"])


def to_array(matrix: Matrix) -> Array:
    """A copy of a matrix as it lies on disk."""
    flat = array("d")
    for row in matrix:
        flat.fromlist(row)
    return Array("F64", (len(matrix), len(matrix[0])), flat.tobytes())


def to_matrix(stored: Array) -> Matrix:
    rows, columns = stored.shape
    flat = array("d", bytes(stored.data))
    return [list(flat[row * columns : (row + 1) * columns]) for row in range(rows)]


def _zeros_like(matrix: Matrix) -> Matrix:
    return [[0.0] * len(row) for row in matrix]
