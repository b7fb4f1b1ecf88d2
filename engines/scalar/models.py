"""The two models of the scalar engine, from tokens to logits and to the loss.

`ScalarBigram`: logits = rmsnorm?(E[token]) · headᵀ
`ScalarMiniGPT`: the GPT of karpathy's microgpt: learned positions, pre-norm blocks of causal attention and a ReLU² MLP,
rmsnorm without gain, no biases; tied or untied head, optional input and final norm.

Shapes: T positions of all sequences together, C channels, V tokens in the vocabulary.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from engines.generation.decoding import FullContextDecoder
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
    relu_squared,
    rmsnorm,
)
from engines.scalar.kernels import Matrix, Vector, logsumexp, matmul_transposed
from engines.scalar.kv_cache import ScalarKVCache

BIGRAM_INIT = 0.01  # both bounds are the Rust program's: logits start near zero, so the first loss is about ln V
GPT_INIT = 0.02
_MLP_FACTOR = 4

Parameters = dict[str, Node]


class ScalarBigram:
    """A model that predicts the next token from the current one alone.

    Parameters: `embedding` (V, V) and, unless it is tied to it, `head` (V, V).
    """

    context_length, compiles_decoding = 1, False
    rms_eps = 1e-5

    def __init__(self, parameters: Parameters, input_rmsnorm: bool) -> None:
        self.parameters = parameters
        self.parameter_count = sum(node.numel for node in parameters.values())
        self._input_rmsnorm = input_rmsnorm

    def forward(self, tape: Tape, tokens: Sequence[int]) -> Node:
        """Return the logits (T, V) of the token that follows each token."""
        p = self.parameters
        x = embedding(tape, p["embedding"], tokens)  # (T, V)
        if self._input_rmsnorm:
            x = rmsnorm(tape, x, self.rms_eps)
        return linear(tape, x, p.get("head", p["embedding"]))

    def loss(self, tape: Tape, batch: Sequence[TokenIds]) -> Node:
        """Return the mean loss over all targets, in nats per token, as a (1, 1) node.

        A batch contains few distinct tokens. Each is computed once, and its targets are weighted by their counts.
        """
        tokens, targets = count_pairs(batch)
        return cross_entropy(tape, self.forward(tape, tokens), targets)

    def logits(self, context: Sequence[int]) -> Vector:
        """Return the logits (V) of the next token."""
        return self.forward(Tape(), context[-1:]).data[0]

    def score(self, rows: Sequence[TokenIds]) -> list[Vector]:
        """Return the loss of every target of every row, in nats."""
        return score_pairs(lambda tokens: self.forward(Tape(), tokens).data, rows)

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        """Return a decoder that continues the prompts."""
        return FullContextDecoder([self.logits] * len(prompts), self.context_length, prompts)


class ScalarMiniGPT:
    """A small GPT.

    Parameters: `wte` (V, C), `wpe` (context length, C) and, unless it is tied to wte, `head` (V, C); of each layer
    `wq`, `wk`, `wv`, `wo` (C, C), `fc1` (4C, C) and `fc2` (C, 4C), named `<layer>.wq` and so on.
    """

    compiles_decoding = False
    rms_eps = 1e-5

    def __init__(self, parameters: Parameters, heads: int, input_rmsnorm: bool, final_rmsnorm: bool) -> None:
        self.parameters = parameters
        self.parameter_count = sum(node.numel for node in parameters.values())
        self.context_length = len(parameters["wpe"].data)
        self._layers = sum(name.endswith(".wq") for name in parameters)
        self._heads = heads
        self._input_rmsnorm = input_rmsnorm
        self._final_rmsnorm = final_rmsnorm

    def forward(self, tape: Tape, sequences: Sequence[TokenIds]) -> Node:
        """Return the logits (T, V) of all positions of all sequences, none of which exceeds the context length."""
        p = self.parameters
        lengths = [len(sequence) for sequence in sequences]
        tokens = [token for sequence in sequences for token in sequence]
        positions = [position for length in lengths for position in range(length)]
        x = add(tape, embedding(tape, p["wte"], tokens), embedding(tape, p["wpe"], positions))  # (T, C)
        if self._input_rmsnorm:
            x = self._norm(tape, x)
        for layer in range(self._layers):
            x = add(tape, x, self._attention(tape, self._norm(tape, x), layer, lengths))
            x = add(tape, x, self._mlp(tape, self._norm(tape, x), layer))
        if self._final_rmsnorm:
            x = self._norm(tape, x)
        return linear(tape, x, p.get("head", p["wte"]))  # (T, V)

    def _norm(self, tape: Tape, x: Node) -> Node:
        return rmsnorm(tape, x, self.rms_eps)

    def _attention(self, tape: Tape, x: Node, layer: int, lengths: Sequence[int]) -> Node:
        wq, wk, wv, wo = (self.parameters[f"{layer}.{name}"] for name in ("wq", "wk", "wv", "wo"))
        y = attention(tape, linear(tape, x, wq), linear(tape, x, wk), linear(tape, x, wv), self._heads, lengths)
        return linear(tape, y, wo)  # (T, C)

    def _mlp(self, tape: Tape, x: Node, layer: int) -> Node:
        fc1, fc2 = self.parameters[f"{layer}.fc1"], self.parameters[f"{layer}.fc2"]
        hidden = relu_squared(tape, linear(tape, x, fc1))  # (T, 4C)
        return linear(tape, hidden, fc2)  # (T, C)

    def loss(self, tape: Tape, batch: Sequence[TokenIds]) -> Node:
        """Return the mean loss over all targets, in nats per token, as a (1, 1) node."""
        return cross_entropy(tape, self.forward(tape, [row[:-1] for row in batch]), list_targets(batch))

    def logits(self, context: Sequence[int]) -> Vector:
        """Return the logits (V) of the next token, from as much of the context as the model reads."""
        return self.forward(Tape(), [context[-self.context_length :]]).data[-1]

    def new_cache(self) -> ScalarKVCache:
        """Return the cache of a text of which nothing was read."""
        return ScalarKVCache(self._layers, self._heads, len(self.parameters["wte"].data[0]))

    def read(self, tokens: Sequence[int], cache: ScalarKVCache) -> Vector:
        """Return the logits (V) of the token after `tokens`, which follow those in the cache: as `forward` does.

        Only the last position needs what comes after the keys and values of the last layer.
        """
        tape, p = Tape(), self.parameters
        first = len(cache.tokens)
        cache.tokens += tokens
        positions = range(first, len(cache.tokens))
        x = add(tape, embedding(tape, p["wte"], tokens), embedding(tape, p["wpe"], positions))  # (T, C)
        if self._input_rmsnorm:
            x = self._norm(tape, x)
        for layer in range(self._layers):
            attended = self._attend_to_cache(tape, self._norm(tape, x), layer, cache)
            x = Node(x.data[-len(attended.data) :], "last")
            x = add(tape, x, linear(tape, attended, p[f"{layer}.wo"]))
            x = add(tape, x, self._mlp(tape, self._norm(tape, x), layer))
        if self._final_rmsnorm:
            x = self._norm(tape, x)
        return linear(tape, x, p.get("head", p["wte"])).data[-1]

    def _attend_to_cache(self, tape: Tape, x: Node, layer: int, cache: ScalarKVCache) -> Node:
        """Return the heads' outputs (T, C); of the last layer only the last one (1, C)."""
        wq, wk, wv = (self.parameters[f"{layer}.{name}"] for name in ("wq", "wk", "wv"))
        keys, values = linear(tape, x, wk).data, linear(tape, x, wv).data
        first = len(keys) - 1 if layer == self._layers - 1 else 0
        queries = matmul_transposed(x.data[first:], wq.data)
        rows = []
        for position, (key, value) in enumerate(zip(keys, values, strict=True)):
            cache.append(layer, key, value)
            if position >= first:
                rows.append(cache.attend(layer, queries[position - first]))
        return Node(rows, "attention")

    def score(self, rows: Sequence[TokenIds]) -> list[Vector]:
        """Return the loss of every target of every row, in nats. Rows are computed one at a time to save memory."""
        losses = []
        for row in rows:
            logits = self.forward(Tape(), [row[:-1]]).data
            losses.append([logsumexp(values) - values[target] for values, target in zip(logits, row[1:], strict=True)])
        return losses

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        """Return a decoder that continues the prompts."""
        rows = [CachedText(self) for _ in prompts]
        return FullContextDecoder([row.logits for row in rows], self.context_length, prompts)


class CachedText:
    """A text that a GPT has read: it reads only the tokens by which the text has grown since."""

    def __init__(self, model: ScalarMiniGPT) -> None:
        self._model = model
        self._cache = model.new_cache()

    def logits(self, context: TokenIds) -> Vector:
        """Return the logits (V) of the token after `context`, which is read anew unless it continues the last one.

        When the context is full its first token is dropped, so that every token is at another position.
        """
        length = len(self._cache.tokens)
        if length >= len(context) or self._cache.tokens != list(context[:length]):
            self._cache, length = self._model.new_cache(), 0
        return self._model.read(context[length:], self._cache)


# --- targets and scores ------------------------------------------------------------------------------


def list_targets(batch: Sequence[TokenIds]) -> Targets:
    """Return the target of every position of a batch, each with the same weight."""
    weight = 1.0 / sum(len(row) - 1 for row in batch)
    return [[(target, weight)] for row in batch for target in row[1:]]


def count_pairs(batch: Sequence[TokenIds]) -> tuple[list[int], Targets]:
    """Return the distinct tokens that are followed by another, and for each its targets with their shares of all."""
    pairs = Counter(pair for row in batch for pair in pairwise(row))
    total = sum(pairs.values())
    followers: dict[int, list[tuple[int, float]]] = {}
    for (token, target), count in sorted(pairs.items()):
        followers.setdefault(token, []).append((target, count / total))
    return list(followers), list(followers.values())


def score_pairs(logits: Callable[[Sequence[int]], Matrix], rows: Sequence[TokenIds]) -> list[Vector]:
    """Return the loss of every target, in nats, of a model that sees the current token alone.

    `logits` turns tokens (T) into logits (T, V); it is called once, with the distinct tokens.
    """
    tokens = sorted({token for row in rows for token in row[:-1]})
    losses = {}
    for token, values in zip(tokens, logits(tokens), strict=True):
        total = logsumexp(values)
        losses[token] = [total - value for value in values]
    return [[losses[token][target] for token, target in pairwise(row)] for row in rows]


# --- initialisation ----------------------------------------------------------------------------------


class UniformSource(Protocol):
    """A generator of random numbers."""

    def uniform(self, low: float, high: float) -> float:
        """Return the next number between `low` and `high`."""


def init_bigram(vocab_size: int, tied: bool, stream: UniformSource) -> Parameters:
    """Return parameters that are uniform in ±0.01, drawn in the order of their names, row by row."""
    shapes = {"embedding": (vocab_size, vocab_size)}
    if not tied:
        shapes["head"] = (vocab_size, vocab_size)
    return _init_uniform(shapes, BIGRAM_INIT, stream)


def init_mini_gpt(
    vocab_size: int, width: int, layers: int, context_length: int, tied: bool, stream: UniformSource
) -> Parameters:
    """Return parameters that are uniform in ±0.02. The output projections of each block, wo and fc2, are zeros, for
    which no numbers are drawn."""
    shapes = {"wte": (vocab_size, width), "wpe": (context_length, width)}
    if not tied:
        shapes["head"] = (vocab_size, width)
    for layer in range(layers):
        shapes |= {f"{layer}.{name}": (width, width) for name in ("wq", "wk", "wv", "wo")}
        shapes[f"{layer}.fc1"] = (_MLP_FACTOR * width, width)
        shapes[f"{layer}.fc2"] = (width, _MLP_FACTOR * width)
    return _init_uniform(shapes, GPT_INIT, stream)


def _init_uniform(shapes: dict[str, tuple[int, int]], bound: float, stream: UniformSource) -> Parameters:
    def init_matrix(name: str, rows: int, columns: int) -> Matrix:
        if name.endswith((".wo", ".fc2")):
            return [[0.0] * columns for _ in range(rows)]
        return [[stream.uniform(-bound, bound) for _ in range(columns)] for _ in range(rows)]

    return {name: Node(init_matrix(name, *shape), name) for name, shape in shapes.items()}
