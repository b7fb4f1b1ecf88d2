"""The engine's two models: what they are made of, and the way from tokens to logits.

`Bigram`:   logits = rmsnorm?(E[token]) · headᵀ
`MiniGPT`:  the GPT of karpathy's microgpt: learned positions, pre-norm blocks of causal attention and a ReLU² MLP,
            rmsnorm without gain, no biases; tied or untied head, optional input and final norm.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from engines.generation.decoding import RereadingDecoder
from engines.interfaces import Decoder, TokenIds
from engines.scalar.autograd import (
    Node,
    Tape,
    Targets,
    add,
    attention,
    cross_entropy,
    embedding,
    linear,
    log_sum_exp,
    relu_squared,
    rmsnorm,
)
from engines.scalar.kernels import Matrix

RMS_EPS = 1e-5
BIGRAM_INIT = 0.01  # the ancestor's bounds: logits begin near zero, so that the first loss is ln V
GPT_INIT = 0.02
_MLP_FACTOR = 4

Parameters = dict[str, Node]


class Bigram:
    """The next token depends on the current one alone. Parameters: `embedding` (V, V) and, untied, `head` (V, V)."""

    context_length = 1

    def __init__(
        self, parameters: Parameters, input_rmsnorm: bool, rms_eps: float = RMS_EPS, probability_floor: float = 0.0
    ) -> None:
        self.parameters = parameters
        self.parameter_count = _count(parameters)
        self._input_rmsnorm = input_rmsnorm
        self._rms_eps = rms_eps
        self._floor = probability_floor

    def forward(self, tape: Tape, tokens: Sequence[int]) -> Node:
        """Logits (T, V) of what follows each of the tokens."""
        h = embedding(tape, self.parameters["embedding"], tokens)
        if self._input_rmsnorm:
            h = rmsnorm(tape, h, self._rms_eps)
        return linear(tape, h, self.parameters.get("head", self.parameters["embedding"]))

    def loss(self, batch: Sequence[TokenIds]) -> Tape:
        """A batch has few different current tokens: each is worked out once, its targets weighted by their counts."""
        tape = Tape()
        tokens, targets = _pair_counts(batch)
        cross_entropy(tape, self.forward(tape, tokens), targets, self._floor)
        return tape

    def logits(self, context: Sequence[int]) -> list[float]:
        return self.forward(Tape(), context[-1:]).rows[0]

    def score(self, rows: Sequence[TokenIds]) -> list[list[float]]:
        return score_pairs(lambda tokens: self.forward(Tape(), tokens).rows, rows)

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        return RereadingDecoder(self.logits, self.context_length, prompts)


class MiniGPT:
    """Parameters: wte (V, C), wpe (T, C), untied head (V, C), and of each layer wq, wk, wv, wo (C, C), fc1 (4C, C),
    fc2 (C, 4C), named `<layer>.wq` and so on."""

    def __init__(
        self,
        parameters: Parameters,
        heads: int,
        input_rmsnorm: bool,
        final_rmsnorm: bool,
        rms_eps: float = RMS_EPS,
        probability_floor: float = 0.0,
    ) -> None:
        self.parameters = parameters
        self.parameter_count = _count(parameters)
        self.context_length = len(parameters["wpe"].rows)
        self._layers = sum(name.endswith(".wq") for name in parameters)
        self._heads = heads
        self._input_rmsnorm = input_rmsnorm
        self._final_rmsnorm = final_rmsnorm
        self._rms_eps = rms_eps
        self._floor = probability_floor

    def forward(self, tape: Tape, sequences: Sequence[Sequence[int]]) -> Node:
        """Logits (all positions of all sequences, V). No sequence is longer than the context."""
        p = self.parameters
        lengths = [len(sequence) for sequence in sequences]
        x = add(
            tape,
            embedding(tape, p["wte"], [token for sequence in sequences for token in sequence]),
            embedding(tape, p["wpe"], [position for length in lengths for position in range(length)]),
        )
        if self._input_rmsnorm:
            x = rmsnorm(tape, x, self._rms_eps)
        for layer in range(self._layers):
            x = self._block(tape, x, layer, lengths)
        if self._final_rmsnorm:
            x = rmsnorm(tape, x, self._rms_eps)
        return linear(tape, x, p.get("head", p["wte"]))

    def _block(self, tape: Tape, x: Node, layer: int, lengths: Sequence[int]) -> Node:
        wq, wk, wv, wo, fc1, fc2 = (
            self.parameters[f"{layer}.{name}"] for name in ("wq", "wk", "wv", "wo", "fc1", "fc2")
        )
        h = rmsnorm(tape, x, self._rms_eps)
        mixed = attention(tape, linear(tape, h, wq), linear(tape, h, wk), linear(tape, h, wv), self._heads, lengths)
        x = add(tape, x, linear(tape, mixed, wo))
        h = rmsnorm(tape, x, self._rms_eps)
        return add(tape, x, linear(tape, relu_squared(tape, linear(tape, h, fc1)), fc2))

    def loss(self, batch: Sequence[TokenIds]) -> Tape:
        tape = Tape()
        weight = 1.0 / sum(len(row) - 1 for row in batch)
        targets = [[(target, weight)] for row in batch for target in row[1:]]
        cross_entropy(tape, self.forward(tape, [row[:-1] for row in batch]), targets, self._floor)
        return tape

    def logits(self, context: Sequence[int]) -> list[float]:
        return self.forward(Tape(), [context[-self.context_length :]]).rows[-1]

    def score(self, rows: Sequence[TokenIds]) -> list[list[float]]:
        found = []
        for row in rows:  # one at a time: the tape holds only one row's numbers
            logits = self.forward(Tape(), [row[:-1]]).rows
            found.append([log_sum_exp(values) - values[target] for values, target in zip(logits, row[1:], strict=True)])
        return found

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        return RereadingDecoder(self.logits, self.context_length, prompts)


class Uniform(Protocol):
    """Where initial numbers come from."""

    def uniform(self, low: float, high: float) -> float: ...


def bigram_parameters(vocab_size: int, tied: bool, stream: Uniform) -> Parameters:
    """Uniform in ±0.01, drawn in the order of the names below, row by row."""
    shapes = {"embedding": (vocab_size, vocab_size), "head": (vocab_size, vocab_size)}
    return _uniform({n: s for n, s in shapes.items() if not (tied and n == "head")}, BIGRAM_INIT, stream)


def gpt_parameters(
    vocab_size: int, width: int, layers: int, context_length: int, tied: bool, stream: Uniform
) -> Parameters:
    """Uniform in ±0.02; what each block adds at its end (wo, fc2) begins at zero and takes no draws."""
    shapes = {"wte": (vocab_size, width), "wpe": (context_length, width)}
    if not tied:
        shapes["head"] = (vocab_size, width)
    for layer in range(layers):
        shapes |= {f"{layer}.{name}": (width, width) for name in ("wq", "wk", "wv", "wo")}
        shapes[f"{layer}.fc1"] = (_MLP_FACTOR * width, width)
        shapes[f"{layer}.fc2"] = (width, _MLP_FACTOR * width)
    return _uniform(shapes, GPT_INIT, stream)


def _uniform(shapes: dict[str, tuple[int, int]], bound: float, stream: Uniform) -> Parameters:
    def matrix(name: str, rows: int, columns: int) -> Matrix:
        if name.endswith((".wo", ".fc2")):
            return [[0.0] * columns for _ in range(rows)]
        return [[stream.uniform(-bound, bound) for _ in range(columns)] for _ in range(rows)]

    return {name: Node(matrix(name, *shape), name) for name, shape in shapes.items()}


def score_pairs(logits: Callable[[Sequence[int]], Matrix], rows: Sequence[TokenIds]) -> list[list[float]]:
    """The nats of every target, where the current token alone decides: each one's logits are worked out once."""
    tokens = sorted({token for row in rows for token in row[:-1]})
    nats = dict(zip(tokens, map(_nats, logits(tokens)), strict=True))
    return [[nats[current][target] for current, target in pairwise(row)] for row in rows]


def _count(parameters: Parameters) -> int:
    return sum(rows * columns for rows, columns in (node.shape for node in parameters.values()))


def _nats(logits: list[float]) -> list[float]:
    total = log_sum_exp(logits)
    return [total - value for value in logits]


def _pair_counts(batch: Sequence[TokenIds]) -> tuple[list[int], Targets]:
    """Different current tokens, and for each what came next with its share of all pairs."""
    pairs = Counter(pair for row in batch for pair in pairwise(row))
    total = sum(pairs.values())
    followers: dict[int, list[tuple[int, float]]] = {}
    for (current, target), times in sorted(pairs.items()):
        followers.setdefault(current, []).append((target, times / total))
    return list(followers), list(followers.values())
