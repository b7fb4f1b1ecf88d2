"""Looks into a scalar model: its parameters, its attention, and where any single number comes from."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from engines.errors import UserError
from engines.scalar.autograd import Node, Tape, numbers_behind
from engines.scalar.kernels import Matrix
from engines.scalar.models import Bigram, MiniGPT

JSON = dict[str, Any]


class Slide(NamedTuple):
    """A model's computation of the loss on one text, gradients included. Nodes are named `<place>:<operation>`."""

    tokens: Sequence[int]
    nodes: dict[str, Node]
    parameters: dict[str, Node]

    @property
    def loss(self) -> float:
        return next(reversed(self.nodes.values())).rows[0][0]


def prepare(model: Bigram | MiniGPT, tokens: Sequence[int]) -> Slide:
    """Compute the loss of a text and every gradient. Mini-gpt sees as much of it as its context holds."""
    seen = tokens[: model.context_length + 1] if isinstance(model, MiniGPT) else tokens
    if len(seen) < 2:
        raise UserError("--text is empty; give at least one character to look at.")
    tape: Tape = model.loss([seen])
    tape.backward()
    nodes = {f"{place}:{node.name}": node for place, node in enumerate(tape.nodes)}
    return Slide(seen, nodes, model.parameters)


def parameters(slide: Slide) -> list[JSON]:
    """Every parameter by name: its shape, its norm, that of the loss' gradient by it, and all numbers of both."""
    return [
        {"name": name, "norm": _norm(node.rows), "grad_norm": _norm(node.grads or []), **_numbers(node)}
        for name, node in slide.parameters.items()
    ]


def nodes(slide: Slide) -> list[JSON]:
    """Every step of the computation by name, with its numbers and the loss' gradients by them."""
    return [{"name": name, **_numbers(node)} for name, node in slide.nodes.items()]


def attention(slide: Slide) -> list[JSON]:
    """For each layer and head how much each position looks at each one before it: rows of weights that sum to 1."""
    layers = [node.saved[0] for name, node in slide.nodes.items() if name.endswith(":attention")]
    return [
        {"layer": layer, "head": head, "weights": [row[: t + 1] for t, row in enumerate(weights)]}
        for layer, heads in enumerate(layers)
        for head, weights in enumerate(heads)
    ]


def graph(slide: Slide, wanted: str, depth: int, top: int) -> JSON:
    """The number `wanted`, such as `0.wq[3,2]` or `12:linear[0,5]`, and the `top` numbers that matter most behind it,
    and those behind them, `depth` levels down. UserError says which numbers there are."""
    name, row, column = _parse(wanted)
    node = slide.parameters.get(name) or slide.nodes.get(name)
    if node is None:
        raise UserError(f"there is no node {name!r}; there are {', '.join([*slide.parameters, *slide.nodes])}.")
    rows, columns = node.shape
    if not (0 <= row < rows and 0 <= column < columns):
        raise UserError(f"--node {wanted}: {name} has {rows} rows and {columns} columns, counted from 0.")
    names = {id(found): label for label, found in [*slide.parameters.items(), *slide.nodes.items()]}
    return _describe(node, row, column, names, depth, top)


def _describe(node: Node, row: int, column: int, names: dict[int, str], depth: int, top: int) -> JSON:
    found: JSON = {
        "node": f"{names[id(node)]}[{row},{column}]",
        "value": node.rows[row][column],
        "gradient": node.grads[row][column] if node.grads else 0.0,
    }
    if depth > 0 and node.backward is not None:
        behind = numbers_behind(node, row, column)
        found["made_from"] = len(behind)
        found["behind"] = [
            {"derivative": derivative, **_describe(parent, i, j, names, depth - 1, top)}
            for parent, i, j, derivative in behind[:top]
        ]
    return found


def _parse(wanted: str) -> tuple[str, int, int]:
    name, _, place = wanted.removesuffix("]").partition("[")
    row, _, column = place.partition(",")
    try:
        return name, int(row), int(column)
    except ValueError:
        raise UserError(f"--node {wanted} should look like 0.wq[3,2] or 12:linear[0,5].") from None


def _numbers(node: Node) -> JSON:
    return {"shape": list(node.shape), "values": node.rows, "gradients": node.grads or []}


def _norm(rows: Matrix) -> float:
    return math.sqrt(math.fsum(value * value for row in rows for value in row))
