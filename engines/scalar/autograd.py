"""Reverse-mode automatic differentiation on matrices of Python floats.

A `Node` is a matrix and, after the backward pass, the gradient of the loss with respect to each of its numbers. An
operation computes a new node and records it on a `Tape`, together with its derivative: the function below it, which
turns the gradient of the result into gradients of the inputs. `Tape.backward` calls the derivatives from the last node
to the first. That is the whole algorithm: there is no recursion, no sorting, and no reference cycle, so training leaves
nothing to the garbage collector.

Shapes: T positions, C channels, V tokens in the vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from engines.scalar.kernels import (
    Matrix,
    add_inplace,
    concatenate_columns,
    dot,
    exponentiate,
    matmul_transposed,
    softmax,
    transpose,
    zeros_like,
)

Derivative = Callable[["Node"], None]
Targets = Sequence[Sequence[tuple[int, float]]]  # for each row, the target tokens and their weights in the loss


class Node:
    """A matrix, its gradient, and the operation that computed it.

    `grad` has the shape of `data`; it is None until the backward pass reaches the node. `parents` are the inputs of
    the operation, `derivative` computes their gradients, and `saved` is what it needs beyond them.
    """

    __slots__ = ("data", "derivative", "grad", "name", "parents", "saved")

    def __init__(
        self,
        data: Matrix,
        name: str,
        parents: "tuple[Node, ...]" = (),
        derivative: Derivative | None = None,
        saved: Any = None,
    ) -> None:
        self.data = data
        self.grad: Matrix | None = None
        self.name = name
        self.parents = parents
        self.derivative = derivative
        self.saved = saved

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.data), len(self.data[0]) if self.data else 0

    @property
    def numel(self) -> int:
        """The number of elements."""
        rows, columns = self.shape
        return rows * columns

    def item(self) -> float:
        """Return the number of a (1, 1) node."""
        ((value,),) = self.data
        return value

    def accumulate_grad(self, grad: Matrix) -> None:
        """Add to the gradient. The first matrix becomes the gradient itself, so the caller must not use it again."""
        if self.grad is None:
            self.grad = grad
        else:
            add_inplace(self.grad, grad)


class Tape:
    """The nodes of one computation, in the order in which they were computed."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def record(
        self, data: Matrix, name: str, parents: tuple[Node, ...], derivative: Derivative, saved: Any = None
    ) -> Node:
        """Append the result of an operation and return its node."""
        node = Node(data, name, parents, derivative, saved)
        self.nodes.append(node)
        return node

    def backward(self, output: Node, grad: Matrix | None = None) -> None:
        """Compute the gradient of every node that `output` depends on. `grad` is the gradient of `output` itself."""
        output.grad = [[1.0] * len(row) for row in output.data] if grad is None else grad
        for node in reversed(self.nodes):
            if node.grad is not None and node.derivative is not None:
                node.derivative(node)


# --- operations, each followed by its derivative ----------------------------------------------------


def embedding(tape: Tape, table: Node, tokens: Sequence[int]) -> Node:
    """Look up a row of the table for each token: (V, C) gives (T, C)."""
    return tape.record([table.data[token] for token in tokens], "embedding", (table,), _embedding_backward, tokens)


def _embedding_backward(node: Node) -> None:
    (table,) = node.parents
    assert node.grad is not None
    if table.grad is None:
        table.grad = zeros_like(table.data)
    for token, grad in zip(node.saved, node.grad, strict=True):
        row = table.grad[token]
        row[:] = [a + b for a, b in zip(row, grad, strict=True)]


def add(tape: Tape, left: Node, right: Node) -> Node:
    """Add two nodes of the same shape."""
    data = [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(left.data, right.data, strict=True)]
    return tape.record(data, "add", (left, right), _add_backward)


def _add_backward(node: Node) -> None:
    assert node.grad is not None
    for parent in node.parents:
        parent.accumulate_grad([row[:] for row in node.grad])


def linear(tape: Tape, x: Node, weight: Node) -> Node:
    """Multiply by a weight, x · weightᵀ: (T, C) and (O, C) give (T, O)."""
    return tape.record(matmul_transposed(x.data, weight.data), "linear", (x, weight), _linear_backward)


def _linear_backward(node: Node) -> None:
    x, weight = node.parents
    assert node.grad is not None
    x.accumulate_grad(matmul_transposed(node.grad, transpose(weight.data)))  # (T, O) · (O, C)
    weight.accumulate_grad(matmul_transposed(transpose(node.grad), transpose(x.data)))  # (O, T) · (T, C)


def rmsnorm(tape: Tape, x: Node, eps: float) -> Node:
    """Divide each row by its root mean square (Zhang and Sennrich, 2019); there is no gain."""
    scales = [1.0 / math.sqrt(dot(row, row) / len(row) + eps) for row in x.data]
    data = [[value * scale for value in row] for row, scale in zip(x.data, scales, strict=True)]
    return tape.record(data, "rmsnorm", (x,), _rmsnorm_backward, scales)


def _rmsnorm_backward(node: Node) -> None:
    (x,) = node.parents
    assert node.grad is not None
    grad = []
    for g, y, scale in zip(node.grad, node.data, node.saved, strict=True):
        mean = dot(g, y) / len(y)
        grad.append([scale * (a - b * mean) for a, b in zip(g, y, strict=True)])
    x.accumulate_grad(grad)


def relu_squared(tape: Tape, x: Node) -> Node:
    """Compute max(0, x)² (So et al., 2021)."""
    data = [[value * value if value > 0.0 else 0.0 for value in row] for row in x.data]
    return tape.record(data, "relu_squared", (x,), _relu_squared_backward)


def _relu_squared_backward(node: Node) -> None:
    (x,) = node.parents
    assert node.grad is not None
    x.accumulate_grad([
        [2.0 * value * g if value > 0.0 else 0.0 for value, g in zip(row, grad, strict=True)]
        for row, grad in zip(x.data, node.grad, strict=True)
    ])  # fmt: skip


def attention(tape: Tape, q: Node, k: Node, v: Node, heads: int, lengths: Sequence[int]) -> Node:
    """Causal multi-head attention within each sequence: three (T, C) give (T, C).

    `lengths` are the lengths of the sequences that the T rows consist of. Each head has its own C / heads columns.
    `saved` keeps the attention weights: saved[sequence][head] is (length, length), with zeros above the diagonal.
    """
    columns = _head_columns(q, heads)
    data: Matrix = []
    saved = []
    for rows in _sequence_rows(lengths):
        weights = [_attention_weights(_block(q.data, rows, head), _block(k.data, rows, head)) for head in columns]
        data += concatenate_columns([
            matmul_transposed(w, transpose(_block(v.data, rows, head)))
            for w, head in zip(weights, columns, strict=True)
        ])  # fmt: skip
        saved.append(weights)
    return tape.record(data, "attention", (q, k, v), _attention_backward, saved)


def _attention_weights(q: Matrix, k: Matrix) -> Matrix:
    """Return softmax(q · kᵀ / √C) over the positions up to each query's own, and zeros after it."""
    scale = 1.0 / math.sqrt(len(q[0]))
    length = len(q)
    return [
        softmax([score * scale for score in scores[: t + 1]]) + [0.0] * (length - t - 1)
        for t, scores in enumerate(matmul_transposed(q, k))
    ]


def _attention_backward(node: Node) -> None:
    q, k, v = node.parents
    assert node.grad is not None
    columns = _head_columns(q, len(node.saved[0]))
    grads: list[Matrix] = [[], [], []]
    for rows, weights in zip(_sequence_rows([len(heads[0]) for heads in node.saved]), node.saved, strict=True):
        of_heads = [
            _head_backward(w, *(_block(matrix, rows, head) for matrix in (node.grad, q.data, k.data, v.data)))
            for w, head in zip(weights, columns, strict=True)
        ]
        for grad, parts in zip(grads, zip(*of_heads, strict=True), strict=True):
            grad += concatenate_columns(parts)
    for parent, grad in zip(node.parents, grads, strict=True):
        parent.accumulate_grad(grad)


def _head_backward(weights: Matrix, g: Matrix, q: Matrix, k: Matrix, v: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Return the gradients of one head's q, k and v. Where a weight is 0, the gradient of its score is 0 too."""
    scale = 1.0 / math.sqrt(len(q[0]))
    d_scores: Matrix = []
    for row, d_row in zip(weights, matmul_transposed(g, v), strict=True):
        mean = dot(row, d_row)
        d_scores.append([scale * w * (d - mean) for w, d in zip(row, d_row, strict=True)])
    d_q = matmul_transposed(d_scores, transpose(k))
    d_k = matmul_transposed(transpose(d_scores), transpose(q))
    d_v = matmul_transposed(transpose(weights), transpose(g))
    return d_q, d_k, d_v


def _head_columns(q: Node, heads: int) -> list[slice]:
    width = q.shape[1] // heads
    return [slice(head * width, (head + 1) * width) for head in range(heads)]


def _sequence_rows(lengths: Sequence[int]) -> Iterator[slice]:
    begin = 0
    for length in lengths:
        yield slice(begin, begin + length)
        begin += length


def _block(matrix: Matrix, rows: slice, columns: slice) -> Matrix:
    return [row[columns] for row in matrix[rows]]


def cross_entropy(tape: Tape, logits: Node, targets: Targets) -> Node:
    """Sum −weight · log softmax(logits)[target] over all targets of all rows: (T, V) gives (1, 1), in nats."""
    loss = 0.0
    saved = []
    for row, weighted in zip(logits.data, targets, strict=True):
        exponentials, total, highest = exponentiate(row)
        log_total = highest + math.log(total)
        for target, weight in weighted:
            loss += weight * (log_total - row[target])
        saved.append((exponentials, total, weighted))
    return tape.record([[loss]], "cross_entropy", (logits,), _cross_entropy_backward, saved)


def _cross_entropy_backward(node: Node) -> None:
    (logits,) = node.parents
    assert node.grad is not None
    scale = node.grad[0][0]
    grad = []
    for exponentials, total, weighted in node.saved:
        minus_targets = [0.0] * len(exponentials)  # the gradient is factor · softmax(row) − Σ weight · one_hot(target)
        factor = 0.0
        for target, weight in weighted:
            minus_targets[target] -= scale * weight
            factor += scale * weight
        grad.append([factor * (value / total) + own for value, own in zip(exponentials, minus_targets, strict=True)])
    logits.accumulate_grad(grad)
