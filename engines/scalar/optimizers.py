"""SGD and AdamW, which update the parameters of a scalar model in place.

AdamW takes as long as a third of a step. Its update runs in code that is generated for each row length, as the matrix
product's is (`kernels.py`): a number's moving averages and its new value are computed while they are local variables.
"""

import functools
import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from engines.interfaces import Array
from engines.scalar.arrays import to_array, to_matrix
from engines.scalar.autograd import Node
from engines.scalar.kernels import Matrix, Vector, zeros_like

_MAX_COLUMNS = 64  # of a row that is updated at once: variables beyond the 256th are slower


class ScalarOptimizer:
    """Base class of optimizers without state. An update reads the gradients of the parameters."""

    def __init__(self, parameters: dict[str, Node]) -> None:
        self._parameters = parameters

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        """Return the arrays and counters that a checkpoint stores."""
        return {}, {}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        """Restore what `state` returned."""


class ScalarSGD(ScalarOptimizer):
    """Gradient descent: p -= lr · g."""

    def update(self, lr: float) -> None:
        """Apply one update."""
        for node in self._parameters.values():
            for row, grad in zip(node.data, get_gradient(node), strict=True):
                row[:] = [p - lr * g for p, g in zip(row, grad, strict=True)]


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
        self._exp_avg = {name: zeros_like(node.data) for name, node in parameters.items()}  # m
        self._exp_avg_sq = {name: zeros_like(node.data) for name, node in parameters.items()}  # v
        self._step = 0  # t

    def update(self, lr: float) -> None:
        """Apply one update."""
        self._step += 1
        b1, b2 = self._beta1, self._beta2
        # Numerator and denominator are multiplied by √(1 − β₂ᵗ), so that the loop need not divide v by 1 − β₂ᵗ.
        correction = math.sqrt(1.0 - b2**self._step)
        step_size = lr * correction / (1.0 - b1**self._step)
        factors = b1, 1.0 - b1, b2, 1.0 - b2, 1.0 - lr * self._weight_decay, step_size, self._eps * correction
        for name, node in self._parameters.items():
            _update_adamw(node.data, get_gradient(node), self._exp_avg[name], self._exp_avg_sq[name], factors)

    def state(self) -> tuple[dict[str, Array], dict[str, int]]:
        """Return `mean.<parameter>`, `square.<parameter>` and the number of updates."""
        arrays = {}
        for name in self._parameters:
            arrays[f"mean.{name}"] = to_array(self._exp_avg[name])
            arrays[f"square.{name}"] = to_array(self._exp_avg_sq[name])
        return arrays, {"updates": self._step}

    def load_state(self, arrays: dict[str, Array], counters: dict[str, int]) -> None:
        """Restore what `state` returned."""
        self._step = counters["updates"]
        self._exp_avg = {name: to_matrix(arrays[f"mean.{name}"]) for name in self._parameters}
        self._exp_avg_sq = {name: to_matrix(arrays[f"square.{name}"]) for name in self._parameters}


def get_gradient(node: Node) -> Matrix:
    """Return the gradient of a parameter; zeros if the loss does not depend on it."""
    return zeros_like(node.data) if node.grad is None else node.grad


def flatten_gradients(parameters: dict[str, Node]) -> Vector:
    """Return the gradients of all parameters in one list."""
    return list(chain.from_iterable(chain.from_iterable(map(get_gradient, parameters.values()))))


def _update_adamw(p: Matrix, g: Matrix, m: Matrix, v: Matrix, factors: Sequence[float]) -> None:
    """Update a parameter `p` and its moving averages `m` and `v` in place, given its gradient `g`."""
    columns = len(p[0])
    if columns <= _MAX_COLUMNS:
        _compile_adamw(columns)(p, g, m, v, *factors)
        return
    for begin in range(0, columns, _MAX_COLUMNS):
        chunk = slice(begin, begin + _MAX_COLUMNS)
        parts = [[row[chunk] for row in matrix] for matrix in (p, g, m, v)]
        _compile_adamw(len(parts[0][0]))(*parts, *factors)
        for matrix, part in zip((p, g, m, v), parts, strict=True):
            for row, values in zip(matrix, part, strict=True):
                row[chunk] = values


@functools.cache
def _compile_adamw(columns: int) -> Callable[..., None]:
    """Return the update of matrices whose rows have this length."""
    unpack = "".join(f"        {','.join(f'{name}{i}' for i in range(columns))}, = {name}\n" for name in "pgmv")
    updates = "".join(
        f"""
        m[{i}] = m{i} = b1*m{i} + a1*g{i}
        v[{i}] = v{i} = b2*v{i} + a2*g{i}*g{i}
        p[{i}] = p{i}*decay - step_size*m{i}/(sqrt(v{i}) + eps)
"""
        for i in range(columns)
    )
    source = f"""
def update(p_rows, g_rows, m_rows, v_rows, b1, a1, b2, a2, decay, step_size, eps, sqrt=sqrt):
    for p, g, m, v in zip(p_rows, g_rows, m_rows, v_rows, strict=True):
{unpack}{updates}"""
    namespace: dict[str, Any] = {"sqrt": math.sqrt}
    exec(source, namespace)
    update: Callable[..., None] = namespace["update"]
    return update
