"""SGD and AdamW on the parameters of a scalar model, in place.

The numbers of all parameters are handled as one flat list, in the order of their names: fewer, longer loops.
"""

import math
from array import array
from collections.abc import Iterator
from itertools import chain

from engines.interfaces import Array
from engines.scalar.autograd import Node
from engines.scalar.kernels import Matrix, Vector


class Optimizer:
    """What both share: parameters as one list of numbers."""

    def __init__(self, parameters: dict[str, Node]) -> None:
        self._parameters = parameters

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        """Arrays and counters, as a checkpoint keeps them."""
        return {}, {}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        """Take back what `state` gave."""

    def _values(self) -> Iterator[float]:
        return chain.from_iterable(row for node in self._parameters.values() for row in node.rows)

    def _store(self, values: Vector) -> None:
        begin = 0
        for node in self._parameters.values():
            for row in node.rows:
                end = begin + len(row)
                row[:] = values[begin:end]
                begin = end


class SGD(Optimizer):
    """p -= lr * g."""

    def update(self, gradients: Vector, lr: float) -> None:
        self._store([p - lr * g for p, g in zip(self._values(), gradients, strict=True)])


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p -= lr * (m / (sqrt(v) + eps) + decay * p),
    with m and v corrected for their start at zero."""

    def __init__(
        self, parameters: dict[str, Node], beta1: float, beta2: float, eps: float, weight_decay: float
    ) -> None:
        super().__init__(parameters)
        self._beta1, self._beta2, self._eps, self._decay = beta1, beta2, eps, weight_decay
        self._updates = 0
        size = sum(rows * columns for rows, columns in (node.shape for node in parameters.values()))
        self._means = [0.0] * size
        self._squares = [0.0] * size

    def update(self, gradients: Vector, lr: float) -> None:
        self._updates += 1
        b1, b2 = self._beta1, self._beta2
        a1, a2 = 1.0 - b1, 1.0 - b2
        self._means = [b1 * m + a1 * g for m, g in zip(self._means, gradients, strict=True)]
        self._squares = [b2 * v + a2 * g * g for v, g in zip(self._squares, gradients, strict=True)]
        # sqrt(v / correction) + eps, with the correction taken out of the loop
        correction = math.sqrt(1.0 - b2**self._updates)
        rate = lr * correction / (1.0 - b1**self._updates)
        eps, keep, sqrt = self._eps * correction, 1.0 - lr * self._decay, math.sqrt
        moments = zip(self._values(), self._means, self._squares, strict=True)
        self._store([p * keep - rate * m / (sqrt(v) + eps) for p, m, v in moments])

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        arrays = {}
        begin = 0
        for name, node in self._parameters.items():
            end = begin + node.shape[0] * node.shape[1]
            arrays[f"mean.{name}"] = _flat_array(self._means[begin:end], node.shape)
            arrays[f"square.{name}"] = _flat_array(self._squares[begin:end], node.shape)
            begin = end
        return arrays, {"updates": self._updates}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        self._updates = counters["updates"]
        self._means = [x for name in self._parameters for x in array("d", bytes(arrays[f"mean.{name}"].data))]
        self._squares = [x for name in self._parameters for x in array("d", bytes(arrays[f"square.{name}"].data))]


def flat_gradients(parameters: dict[str, Node]) -> Vector:
    """All gradients, in the order of the parameters; one that got none has zeros."""
    return [g for node in parameters.values() for row in node.grads or _zeros(node) for g in row]


def to_array(matrix: Matrix) -> Array:
    """A copy of a matrix as it lies on disk."""
    return _flat_array([x for row in matrix for x in row], (len(matrix), len(matrix[0])))


def to_matrix(stored: Array) -> Matrix:
    rows, columns = stored.shape
    flat = array("d", bytes(stored.data))
    return [list(flat[row * columns : (row + 1) * columns]) for row in range(rows)]


def _flat_array(values: Vector, shape: tuple[int, int]) -> Array:
    return Array("F64", shape, array("d", values).tobytes())


def _zeros(node: Node) -> Matrix:
    rows, columns = node.shape
    return [[0.0] * columns] * rows
