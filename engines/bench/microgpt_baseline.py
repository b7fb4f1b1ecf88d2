"""The baseline of `bench scalar`: a GPT on an autograd of single numbers, one Python object each, as in microgpt.

It is as plain as karpathy's script and takes as long. As a program it trains and
prints its losses as JSON: python -m engines.bench.microgpt_baseline STEPS [NAMES_FILE] [nogc]
"""

import gc
import json
import math
import random
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

WIDTH, HEADS, CONTEXT, HORIZON = 16, 4, 8, 500
HEAD_WIDTH = WIDTH // HEADS
LR, BETA1, BETA2, EPS = 0.01, 0.9, 0.95, 1e-8


class Value:
    """A number with the numbers that it was computed from, and the derivative with respect to each."""

    def __init__(self, data: float, parents: tuple["Value", ...] = (), derivatives: tuple[float, ...] = ()) -> None:
        self.data = data
        self.grad = 0.0
        self.parents = parents
        self.derivatives = derivatives

    def __add__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, power: float) -> "Value":
        return Value(self.data**power, (self,), (power * self.data ** (power - 1),))

    def __neg__(self) -> "Value":
        return self * -1.0

    def __sub__(self, other: "Value | float") -> "Value":
        return self + (-other)

    def __truediv__(self, other: "Value | float") -> "Value":
        return self * other**-1

    def __radd__(self, other: float) -> "Value":
        return self + other

    def __rmul__(self, other: float) -> "Value":
        return self * other

    def exp(self) -> "Value":
        result = math.exp(self.data)
        return Value(result, (self,), (math.exp(self.data),))

    def log(self) -> "Value":
        return Value(math.log(self.data), (self,), (1.0 / self.data,))

    def relu(self) -> "Value":
        return Value(max(0.0, self.data), (self,), (float(self.data > 0),))

    def backward(self) -> None:
        order: list[Value] = []
        seen = set()

        def visit(value: Value) -> None:
            if value not in seen:
                seen.add(value)
                for parent in value.parents:
                    visit(parent)
                order.append(value)

        visit(self)
        self.grad = 1.0
        for value in reversed(order):
            for parent, derivative in zip(value.parents, value.derivatives):  # noqa: B905 - as plain as microgpt
                parent.grad += derivative * value.grad


Vector = list[Value]
Weights = dict[str, list[Vector]]


def linear(x: Vector, weights: list[Vector]) -> Vector:
    return [sum((w * value for w, value in zip(row, x)), start=Value(0.0)) for row in weights]  # noqa: B905


def softmax(logits: Sequence[Value]) -> Vector:
    highest = max(logit.data for logit in logits)
    exponentials = [(logit - highest).exp() for logit in logits]
    total = sum(exponentials, start=Value(0.0))
    return [value / total for value in exponentials]


def rmsnorm(x: Vector) -> Vector:
    mean_square = sum((value * value for value in x), start=Value(0.0)) / len(x)
    scale = (mean_square + 1e-5) ** -0.5
    return [value * scale for value in x]


def forward(weights: Weights, token: int, position: int, keys: list[Vector], values: list[Vector]) -> Vector:
    """Return the logits after one more token, whose key and value are appended to `keys` and `values`."""
    x = rmsnorm([a + b for a, b in zip(weights["wte"][token], weights["wpe"][position])])  # noqa: B905
    h = rmsnorm(x)
    query = linear(h, weights["wq"])
    keys.append(linear(h, weights["wk"]))
    values.append(linear(h, weights["wv"]))
    mixed: Vector = []
    for left in range(0, WIDTH, HEAD_WIDTH):
        columns = range(left, left + HEAD_WIDTH)
        scores = [sum((query[j] * key[j] for j in columns), start=Value(0.0)) / HEAD_WIDTH**0.5 for key in keys]
        weights_of_head = softmax(scores)
        mixed += [sum((w * v[j] for w, v in zip(weights_of_head, values)), start=Value(0.0)) for j in columns]  # noqa: B905
    x = [a + b for a, b in zip(linear(mixed, weights["wo"]), x)]  # noqa: B905
    hidden = [value.relu() ** 2 for value in linear(rmsnorm(x), weights["fc1"])]
    x = [a + b for a, b in zip(linear(hidden, weights["fc2"]), x)]  # noqa: B905
    return linear(x, weights["head"])


def init_weights(documents: list[str]) -> tuple[list[str], dict[str, list[list[float]]]]:
    """Shuffle the documents in place and draw the weights as microgpt does; return the alphabet and the weights."""
    random.seed(42)
    random.shuffle(documents)
    alphabet = sorted(set("".join(documents)))
    shapes = {"wte": (len(alphabet) + 1, WIDTH), "wpe": (CONTEXT, WIDTH), "head": (len(alphabet) + 1, WIDTH)}
    shapes |= dict.fromkeys(("wq", "wk", "wv", "wo"), (WIDTH, WIDTH))
    shapes |= {"fc1": (4 * WIDTH, WIDTH), "fc2": (WIDTH, 4 * WIDTH)}
    deviations = {"wo": 0.0, "fc2": 0.0}
    return alphabet, {
        name: [[random.gauss(0, deviations.get(name, 0.02)) for _ in range(columns)] for _ in range(rows)]
        for name, (rows, columns) in shapes.items()
    }


def train(documents: list[str], steps: int) -> list[float]:
    """Train for some steps on one document each; return the losses."""
    alphabet, numbers = init_weights(documents)
    weights = {name: [[Value(x) for x in row] for row in rows] for name, rows in numbers.items()}
    parameters = [value for rows in weights.values() for row in rows for value in row]
    means, squares = [0.0] * len(parameters), [0.0] * len(parameters)
    losses = []
    for step in range(steps):
        document = documents[step % len(documents)]
        tokens = [len(alphabet), *map(alphabet.index, document), len(alphabet)]
        keys: list[Vector] = []
        values: list[Vector] = []
        nats = []
        for position in range(min(CONTEXT, len(tokens) - 1)):
            probabilities = softmax(forward(weights, tokens[position], position, keys, values))
            nats.append(-probabilities[tokens[position + 1]].log())
        loss = sum(nats, start=Value(0.0)) * (1 / len(nats))
        loss.backward()
        lr = LR * 0.5 * (1 + math.cos(math.pi * step / HORIZON))
        for i, p in enumerate(parameters):
            means[i] = BETA1 * means[i] + (1 - BETA1) * p.grad
            squares[i] = BETA2 * squares[i] + (1 - BETA2) * p.grad**2
            mean = means[i] / (1 - BETA1 ** (step + 1))
            square = squares[i] / (1 - BETA2 ** (step + 1))
            p.data -= lr * mean / (square**0.5 + EPS)
            p.grad = 0.0
        losses.append(loss.data)
    return losses


def main(arguments: list[str]) -> None:
    """Train, and print the losses."""
    paths = [argument for argument in arguments[1:] if argument != "nogc"]
    text = Path(paths[0]).read_text() if paths else files("engines.data").joinpath("names.txt").read_text()
    if "nogc" in arguments:
        gc.disable()
    print(json.dumps(train(text.split(), int(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
