"""Inspection of a scalar model: its parameters, its attention weights, and the derivation of any single number.

All functions return plain data that can be printed as JSON.
"""

import math
from typing import Any, NamedTuple

from engines.errors import UserError
from engines.interfaces import TokenIds
from engines.scalar.autograd import Node, Tape
from engines.scalar.kernels import Matrix, zeros_like
from engines.scalar.models import ScalarBigram, ScalarMiniGPT

JSON = dict[str, Any]


class Trace(NamedTuple):
    """The computation of one text's loss, with all gradients. Nodes are named `<index on the tape>:<operation>`."""

    tokens: TokenIds
    nodes: dict[str, Node]
    parameters: dict[str, Node]
    loss: float


class Derivative(NamedTuple):
    """The derivative of a number with respect to one number of a parent node."""

    parent: Node
    row: int
    column: int
    value: float


def trace_loss(model: ScalarBigram | ScalarMiniGPT, tokens: TokenIds) -> Trace:
    """Compute the loss of a text and every gradient.

    Of a long text, a mini-gpt reads as many tokens as its context length allows. Raises UserError if the text is empty.
    """
    if isinstance(model, ScalarMiniGPT):
        tokens = tokens[: model.context_length + 1]
    if len(tokens) < 2:
        raise UserError("--text is empty. Give at least one character to inspect.")
    tape = Tape()
    loss = model.loss(tape, [tokens])
    tape.backward(loss)
    nodes = {f"{index}:{node.name}": node for index, node in enumerate(tape.nodes)}
    return Trace(tokens, nodes, model.parameters, loss.item())


def describe_parameters(trace: Trace) -> list[JSON]:
    """List every parameter: name, shape, values, gradients, and the norms of both."""
    return [
        {"name": name, "norm": _norm(node.data), "grad_norm": _norm(node.grad or []), **_matrices(node)}
        for name, node in trace.parameters.items()
    ]


def describe_nodes(trace: Trace) -> list[JSON]:
    """List every operation of the computation: name, shape, values and gradients."""
    return [{"name": name, **_matrices(node)} for name, node in trace.nodes.items()]


def describe_attention(trace: Trace) -> list[JSON]:
    """List the attention weights of each layer and head: a row per query, a weight per position up to its own."""
    layers = [node.saved[0] for name, node in trace.nodes.items() if name.endswith(":attention")]
    return [
        {"layer": layer, "head": head, "weights": [row[: t + 1] for t, row in enumerate(weights)]}
        for layer, heads in enumerate(layers)
        for head, weights in enumerate(heads)
    ]


def describe_graph(trace: Trace, element: str, depth: int, top: int) -> JSON:
    """Return the numbers that an element such as `0.wq[3,2]` or `12:linear[0,5]` was computed from.

    Each level lists the `top` numbers with the largest derivatives; `depth` is the number of levels. Raises UserError
    if there is no such element.
    """
    name, row, column = _parse_element(element)
    node = trace.parameters.get(name) or trace.nodes.get(name)
    if node is None:
        available = ", ".join([*trace.parameters, *trace.nodes])
        raise UserError(f"--node {element}: unknown node {name!r}. Available nodes: {available}.")
    rows, columns = node.shape
    if not (0 <= row < rows and 0 <= column < columns):
        raise UserError(f"--node {element}: {name} has {rows} rows and {columns} columns, counted from 0.")
    names = {id(node): name for name, node in [*trace.parameters.items(), *trace.nodes.items()]}
    return _describe_element(node, row, column, names, depth, top)


def _describe_element(node: Node, row: int, column: int, names: dict[int, str], depth: int, top: int) -> JSON:
    element: JSON = {
        "node": f"{names[id(node)]}[{row},{column}]",
        "value": node.data[row][column],
        "gradient": node.grad[row][column] if node.grad else 0.0,
    }
    if depth > 0 and node.derivative is not None:
        derivatives = local_derivatives(node, row, column)
        element["made_from"] = len(derivatives)
        element["behind"] = [
            {"derivative": value, **_describe_element(parent, i, j, names, depth - 1, top)}
            for parent, i, j, value in derivatives[:top]
        ]
    return element


def local_derivatives(node: Node, row: int, column: int) -> list[Derivative]:
    """Return the derivatives of one number with respect to the numbers of its parents, the largest first.

    Zeros are left out. The node's own `derivative` computes them, from a gradient that is 1 at this number and 0
    elsewhere; all gradients are restored afterwards.
    """
    if node.derivative is None:
        return []
    parents = list(dict.fromkeys(node.parents))  # an operation may have the same parent twice
    saved = [(each, each.grad) for each in (node, *parents)]
    for parent in parents:
        parent.grad = None
    node.grad = zeros_like(node.data)
    node.grad[row][column] = 1.0
    node.derivative(node)
    derivatives = [
        Derivative(parent, i, j, value)
        for parent in parents
        for i, values in enumerate(parent.grad or [])
        for j, value in enumerate(values)
        if value
    ]
    for each, grad in saved:
        each.grad = grad
    return sorted(derivatives, key=lambda derivative: -abs(derivative.value))


def _parse_element(element: str) -> tuple[str, int, int]:
    name, _, index = element.removesuffix("]").partition("[")
    row, _, column = index.partition(",")
    try:
        return name, int(row), int(column)
    except ValueError:
        raise UserError(f"--node {element}: not NAME[row,column]. Write it as 0.wq[3,2] or 12:linear[0,5].") from None


def _matrices(node: Node) -> JSON:
    return {"shape": list(node.shape), "values": node.data, "gradients": node.grad or []}


def _norm(matrix: Matrix) -> float:
    return math.sqrt(math.fsum(value * value for row in matrix for value in row))
