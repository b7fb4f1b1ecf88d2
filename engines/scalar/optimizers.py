"""SGD and AdamW, which update the parameters of a scalar model in place.

All parameters are handled as one flat list of numbers, in the order of their names: fewer and longer loops.
"""

import math
from collections.abc import Iterator
from itertools import chain

from engines.interfaces import Array
from engines.scalar.arrays import flat_array, flat_values
from engines.scalar.autograd import Node
from engines.scalar.kernels import Vector, zeros_like


class ScalarOptimizer:
    """Base class: reads and writes the parameters as one flat list."""

    def __init__(self, parameters: dict[str, Node]) -> None:
        self._parameters = parameters

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        """Return the arrays and counters that a checkpoint stores."""
        return {}, {}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        """Restore what `state` returned."""

    def _read(self) -> Iterator[float]:
        return chain.from_iterable(row for node in self._parameters.values() for row in node.data)

    def _write(self, values: Vector) -> None:
        begin = 0
        for node in self._parameters.values():
            for row in node.data:
                end = begin + len(row)
                row[:] = values[begin:end]
                begin = end


class ScalarSGD(ScalarOptimizer):
    """Gradient descent: p -= lr · g."""

    def update(self, gradients: Vector, lr: float) -> None:
        """Apply one update, given the gradients of all parameters in one list."""
        self._write([p - lr * g for p, g in zip(self._read(), gradients, strict=True)])


class ScalarAdamW(ScalarOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    p -= lr · (m̂ / (√v̂ + eps) + weight_decay · p), where m and v are moving averages of the gradient and of its
    square, and m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) correct them for their start at zero.
    """

    def __init__(
        self, parameters: dict[str, Node], beta1: float, beta2: float, eps: float, weight_decay: float
    ) -> None:
        super().__init__(parameters)
        self._beta1, self._beta2, self._eps, self._weight_decay = beta1, beta2, eps, weight_decay
        numel = sum(node.numel for node in parameters.values())
        self._exp_avg = [0.0] * numel  # m
        self._exp_avg_sq = [0.0] * numel  # v
        self._step = 0  # t

    def update(self, gradients: Vector, lr: float) -> None:
        """Apply one update, given the gradients of all parameters in one list."""
        self._step += 1
        b1, b2 = self._beta1, self._beta2
        a1, a2 = 1.0 - b1, 1.0 - b2
        self._exp_avg = [b1 * m + a1 * g for m, g in zip(self._exp_avg, gradients, strict=True)]
        self._exp_avg_sq = [b2 * v + a2 * g * g for v, g in zip(self._exp_avg_sq, gradients, strict=True)]
        # Numerator and denominator are multiplied by √(1 − β₂ᵗ), so that the loop need not divide v by 1 − β₂ᵗ.
        correction = math.sqrt(1.0 - b2**self._step)
        step_size = lr * correction / (1.0 - b1**self._step)
        eps, decay, sqrt = self._eps * correction, 1.0 - lr * self._weight_decay, math.sqrt
        moments = zip(self._read(), self._exp_avg, self._exp_avg_sq, strict=True)
        self._write([p * decay - step_size * m / (sqrt(v) + eps) for p, m, v in moments])

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        """Return `mean.<parameter>`, `square.<parameter>` and the number of updates."""
        arrays = {}
        begin = 0
        for name, node in self._parameters.items():
            end = begin + node.numel
            arrays[f"mean.{name}"] = flat_array(self._exp_avg[begin:end], node.shape)
            arrays[f"square.{name}"] = flat_array(self._exp_avg_sq[begin:end], node.shape)
            begin = end
        return arrays, {"updates": self._step}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        """Restore what `state` returned."""
        self._step = counters["updates"]
        self._exp_avg = [x for name in self._parameters for x in flat_values(arrays[f"mean.{name}"])]
        self._exp_avg_sq = [x for name in self._parameters for x in flat_values(arrays[f"square.{name}"])]


def flatten_gradients(parameters: dict[str, Node]) -> Vector:
    """Return the gradients of all parameters in one list; a parameter that the loss does not depend on has zeros."""
    return [g for node in parameters.values() for row in node.grad or zeros_like(node.data) for g in row]
