"""Reverse-mode automatic differentiation on matrices of Python floats.

A node holds rows of numbers, as many rows as there are positions in the text, and for every number its gradient: the
derivative of the loss by that number. Operations append nodes to a tape; walking the tape backwards, each node hands
its gradient on to the nodes it was made from. That is all: no recursion, no sorting, and no reference cycles, so the
garbage collector has nothing to do while training.

Each operation stands with its derivative beneath it. `numbers_behind` takes any single number apart into the numbers
it was made from.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from engines.scalar.kernels import Matrix, Vector, add_to, product, transposed, zeros_like

Backward = Callable[["Node"], None]
Targets = Sequence[Sequence[tuple[int, float]]]  # for each row: tokens that came next, and their weights in the loss


class Node:
    """Rows of numbers, and where they came from. `grads` has the same shape; it is None until `backward` gets here."""

    __slots__ = ("backward", "grads", "name", "parents", "rows", "saved")

    def __init__(
        self,
        rows: Matrix,
        name: str,
        parents: "tuple[Node, ...]" = (),
        backward: Backward | None = None,
        saved: Any = None,
    ) -> None:
        self.rows = rows
        self.name = name
        self.parents = parents
        self.backward = backward
        self.saved = saved
        self.grads: Matrix | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.rows[0]) if self.rows else 0

    def receive(self, grads: Matrix) -> None:
        """Add what one child's derivative says. The first matrix received is kept, so it must not be used again."""
        if self.grads is None:
            self.grads = grads
        else:
            add_to(self.grads, grads)


class Tape:
    """The nodes of one computation, in the order they were made."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def append(self, rows: Matrix, name: str, parents: tuple[Node, ...], backward: Backward, saved: Any = None) -> Node:
        node = Node(rows, name, parents, backward, saved)
        self.nodes.append(node)
        return node

    def backward(self, grads: Matrix | None = None) -> None:
        """Fill in the gradient of every number that the last node depends on; `grads` is the last node's own."""
        last = self.nodes[-1]
        last.grads = [[1.0] * len(row) for row in last.rows] if grads is None else grads
        for node in reversed(self.nodes):
            if node.grads is not None and node.backward is not None:
                node.backward(node)


# --- operations, each above its derivative ----------------------------------------------------------


def embedding(tape: Tape, table: Node, tokens: Sequence[int]) -> Node:
    """Row `token` of the table for each token: (V, C) gives (T, C)."""
    rows = [table.rows[token] for token in tokens]
    return tape.append(rows, "embedding", (table,), _embedding_backward, tokens)


def _embedding_backward(node: Node) -> None:
    (table,) = node.parents
    assert node.grads is not None
    if table.grads is None:
        table.grads = zeros_like(table.rows)
    for token, grads in zip(node.saved, node.grads, strict=True):
        row = table.grads[token]
        row[:] = [a + b for a, b in zip(row, grads, strict=True)]


def add(tape: Tape, left: Node, right: Node) -> Node:
    """left + right, number by number."""
    rows = [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(left.rows, right.rows, strict=True)]
    return tape.append(rows, "add", (left, right), _add_backward)


def _add_backward(node: Node) -> None:
    assert node.grads is not None
    for parent in node.parents:
        parent.receive([row[:] for row in node.grads])


def linear(tape: Tape, x: Node, weights: Node) -> Node:
    """x · weightsᵀ: (T, C) and (O, C) give (T, O)."""
    return tape.append(product(x.rows, weights.rows), "linear", (x, weights), _linear_backward)


def _linear_backward(node: Node) -> None:
    x, weights = node.parents
    assert node.grads is not None
    x.receive(product(node.grads, transposed(weights.rows)))
    weights.receive(product(transposed(node.grads), transposed(x.rows)))


def rmsnorm(tape: Tape, x: Node, eps: float) -> Node:
    """Each row divided by the root of its mean square."""
    scales = [1.0 / math.sqrt(_dot(row, row) / len(row) + eps) for row in x.rows]
    rows = [[value * scale for value in row] for row, scale in zip(x.rows, scales, strict=True)]
    return tape.append(rows, "rmsnorm", (x,), _rmsnorm_backward, scales)


def _rmsnorm_backward(node: Node) -> None:
    (x,) = node.parents
    assert node.grads is not None
    grads = []
    for g, y, scale in zip(node.grads, node.rows, node.saved, strict=True):
        inner = _dot(g, y) / len(y)
        grads.append([scale * (a - b * inner) for a, b in zip(g, y, strict=True)])
    x.receive(grads)


def relu_squared(tape: Tape, x: Node) -> Node:
    """max(0, x)² (So et al., 2021)."""
    rows = [[value * value if value > 0.0 else 0.0 for value in row] for row in x.rows]
    return tape.append(rows, "relu_squared", (x,), _relu_squared_backward)


def _relu_squared_backward(node: Node) -> None:
    (x,) = node.parents
    assert node.grads is not None
    x.receive([
        [2.0 * value * g if value > 0.0 else 0.0 for value, g in zip(row, grads, strict=True)]
        for row, grads in zip(x.rows, node.grads, strict=True)
    ])  # fmt: skip


def attention(tape: Tape, q: Node, k: Node, v: Node, heads: int, lengths: Sequence[int]) -> Node:
    """Causal attention, each head on its own columns, each sequence on its own rows: three (T, C) give (T, C).

    `lengths` are those of the sequences that lie below one another in the rows. `saved` keeps the weights:
    saved[sequence][head] is (T, T), zero above the diagonal.
    """
    width = len(q.rows[0]) // heads
    rows: Matrix = []
    weights = []
    begin = 0
    for length in lengths:
        end = begin + length
        outputs, by_head = [], []
        for left in range(0, heads * width, width):
            head = slice(left, left + width)
            cut_q, cut_k, cut_v = ([row[head] for row in node.rows[begin:end]] for node in (q, k, v))
            by_head.append(_attention_weights(cut_q, cut_k))
            outputs.append(product(by_head[-1], transposed(cut_v)))
        rows += _side_by_side(outputs)
        weights.append(by_head)
        begin = end
    return tape.append(rows, "attention", (q, k, v), _attention_backward, weights)


def _attention_weights(queries: Matrix, keys: Matrix) -> Matrix:
    """Softmax over the positions up to and including each query's own; zeros after it."""
    scale = 1.0 / math.sqrt(len(queries[0]))
    size = len(queries)
    return [
        softmax([score * scale for score in scores[: t + 1]]) + [0.0] * (size - t - 1)
        for t, scores in enumerate(product(queries, keys))
    ]


def _attention_backward(node: Node) -> None:
    q, k, v = node.parents
    assert node.grads is not None
    grads: list[Matrix] = [[], [], []]
    heads = len(node.saved[0])
    width = len(node.rows[0]) // heads
    begin = 0
    for by_head in node.saved:
        end = begin + len(by_head[0])
        parts = []
        for index, weights in enumerate(by_head):
            head = slice(index * width, (index + 1) * width)
            cut = [[row[head] for row in rows[begin:end]] for rows in (node.grads, q.rows, k.rows, v.rows)]
            parts.append(_head_backward(weights, *cut))
        for which, total in enumerate(grads):
            total += _side_by_side([part[which] for part in parts])
        begin = end
    for parent, total in zip(node.parents, grads, strict=True):
        parent.receive(total)


def _head_backward(weights: Matrix, g: Matrix, q: Matrix, k: Matrix, v: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Gradients of one head's queries, keys and values. Where a weight is 0 its score's gradient is 0 too."""
    scale = 1.0 / math.sqrt(len(q[0]))
    d_scores: Matrix = []
    for row, d_row in zip(weights, product(g, v), strict=True):
        inner = _dot(row, d_row)
        d_scores.append([scale * w * (d - inner) for w, d in zip(row, d_row, strict=True)])
    d_q = product(d_scores, transposed(k))
    d_k = product(transposed(d_scores), transposed(q))
    d_v = product(transposed(weights), transposed(g))
    return d_q, d_k, d_v


def cross_entropy(tape: Tape, logits: Node, targets: Targets, floor: float = 0.0) -> Node:
    """The weighted sum of −log(p + floor) over all targets: (T, V) gives one number. Exact with the floor at 0."""
    probabilities = [softmax(row) for row in logits.rows]
    loss = 0.0
    for row, p, weighted in zip(logits.rows, probabilities, targets, strict=True):
        log_total = 0.0 if floor else log_sum_exp(row)
        for target, weight in weighted:
            loss += weight * (-math.log(p[target] + floor) if floor else log_total - row[target])
    return tape.append([[loss]], "cross_entropy", (logits,), _cross_entropy_backward, (probabilities, targets, floor))


def _cross_entropy_backward(node: Node) -> None:
    (logits,) = node.parents
    assert node.grads is not None
    scale = node.grads[0][0]
    probabilities, targets, floor = node.saved
    grads = []
    for p, weighted in zip(probabilities, targets, strict=True):
        total = 0.0
        row = [0.0] * len(p)
        for target, weight in weighted:
            share = scale * weight * (p[target] / (p[target] + floor) if floor else 1.0)
            row[target] -= share
            total += share
        row = [total * value + own for value, own in zip(p, row, strict=True)]
        grads.append(row)
    logits.receive(grads)


# --- helpers of the operations above ----------------------------------------------------------------


def _side_by_side(parts: Sequence[Matrix]) -> Matrix:
    """Matrices of as many rows each, joined into longer rows."""
    return [[value for row in rows for value in row] for rows in zip(*parts, strict=True)]


def _dot(left: Vector, right: Vector) -> float:
    return product([left], [right])[0][0]


def softmax(row: Sequence[float]) -> list[float]:
    highest = max(row)
    exponentials = [math.exp(value - highest) for value in row]
    total = 0.0
    for value in exponentials:
        total += value
    return [value / total for value in exponentials]


def log_sum_exp(row: Sequence[float]) -> float:
    highest = max(row)
    total = 0.0
    for value in row:
        total += math.exp(value - highest)
    return highest + math.log(total)


# --- looking at single numbers ----------------------------------------------------------------------


def numbers_behind(node: Node, row: int, column: int) -> list[tuple[Node, int, int, float]]:
    """The numbers that one number was made from, as (node, row, column, derivative), largest derivative first.

    The node's own derivative does the work: it is asked what a gradient of 1 at this number, and 0 elsewhere, would
    hand on.
    """
    if node.backward is None:
        return []
    kept = [(parent, parent.grads) for parent in node.parents]
    own = node.grads
    for parent in node.parents:
        parent.grads = None
    node.grads = zeros_like(node.rows)
    node.grads[row][column] = 1.0
    node.backward(node)
    found = [
        (parent, i, j, derivative)
        for parent in dict.fromkeys(node.parents)
        for i, grads in enumerate(parent.grads or [])
        for j, derivative in enumerate(grads)
        if derivative
    ]
    node.grads = own
    for parent, grads in kept:
        parent.grads = grads
    return sorted(found, key=lambda entry: -abs(entry[3]))
