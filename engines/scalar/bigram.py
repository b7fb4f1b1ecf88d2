"""The bigram: the next token depends on the current one alone. Its gradients are written out by hand.

    h = E[current]                  (V)     the current token's embedding, rms-normalised if asked
    logits = h · Wᵀ                 (V)     W is the head, or E again where they are tied
    loss = log Σ exp(logits) − logits[next]

A batch holds few different current tokens, so pairs are counted first and each context is worked out once.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from engines.engine import Batch, LearnerState, StepResult
from engines.random_stream import RandomStream
from engines.safetensors import Array
from engines.scalar.kernels import dot_kernel
from engines.scalar.optimizers import SGD, AdamW, Matrix, to_array, to_matrix

_INIT_BOUND = 0.01  # the ancestor's: logits begin near zero, so the first loss is ln V
_RMS_EPS = 1e-5


class Bigram:
    """The model: parameters `embedding` (V, V) and, untied, `head` (V, V)."""

    context_length = 1

    def __init__(self, vocab_size: int, tie_lm_head: bool, input_rmsnorm: bool, seed: int) -> None:
        stream = RandomStream(seed, "weights")
        names = ["embedding"] if tie_lm_head else ["embedding", "head"]
        self.parameters: dict[str, Matrix] = {
            name: [[stream.uniform(-_INIT_BOUND, _INIT_BOUND) for _ in range(vocab_size)] for _ in range(vocab_size)]
            for name in names
        }
        self.input_rmsnorm = input_rmsnorm
        self.parameter_count = len(names) * vocab_size**2
        self._dot = dot_kernel(vocab_size)

    @property
    def embedding(self) -> Matrix:
        return self.parameters["embedding"]

    @property
    def head(self) -> Matrix:
        return self.parameters.get("head", self.embedding)

    def hidden(self, token: int) -> tuple[list[float], float]:
        """The normalised embedding (V) and the factor that normalised it."""
        row = self.embedding[token]
        if not self.input_rmsnorm:
            return row, 1.0
        scale = 1.0 / math.sqrt(self._dot(row, row) / len(row) + _RMS_EPS)
        return [x * scale for x in row], scale

    def logits(self, context: Sequence[int]) -> list[float]:
        h, _ = self.hidden(context[-1])
        dot = self._dot
        return [dot(h, row) for row in self.head]

    def score(self, rows: Batch) -> list[list[float]]:
        return score_pairs(self.logits, rows)

    def load(self, arrays: dict[str, Array]) -> None:
        for name in self.parameters:
            self.parameters[name][:] = to_matrix(arrays[name])


class BigramLearner:
    """A bigram and its optimizer."""

    def __init__(self, model: Bigram, optimizer: SGD | AdamW) -> None:
        self.model = model
        self._optimizer = optimizer
        self._finished: list[StepResult] = []

    def step(self, batch: Batch, lr: float) -> None:
        loss, gradients = loss_and_gradients(self.model, batch)
        grad_norm = _norm(gradients)
        if math.isfinite(loss) and math.isfinite(grad_norm):
            self._optimizer.update(gradients, lr)
        self._finished.append(StepResult(loss, grad_norm))

    def finished(self) -> list[StepResult]:
        results, self._finished = self._finished, []
        return results

    def wait(self) -> None:
        """Nothing runs in the background."""

    def state(self) -> LearnerState:
        optimizer, counters = self._optimizer.state()
        return LearnerState(
            {name: to_array(matrix) for name, matrix in self.model.parameters.items()}, optimizer, counters
        )

    def load_state(self, state: LearnerState) -> None:
        self.model.load(state.model)
        self._optimizer.load_state(state.optimizer, state.counters)


class _Context(NamedTuple):
    """One current token of a batch: how often it stands there and before what."""

    token: int
    times: int
    targets: list[tuple[int, int]]


def loss_and_gradients(model: Bigram, batch: Batch) -> tuple[float, dict[str, Matrix]]:
    """The mean loss over all pairs of a batch, in nats, and its gradient by every parameter."""
    contexts = _contexts(batch)
    pairs = sum(context.times for context in contexts)
    size = len(model.embedding)
    gradients = {name: [[0.0] * size for _ in range(size)] for name in model.parameters}
    embedding_gradient = gradients["embedding"]
    head_gradient = gradients.get("head", embedding_gradient)
    dot = dot_kernel(size)
    head_columns = [list(column) for column in zip(*model.head, strict=True)]
    loss = 0.0
    for token, times, targets in contexts:
        h, scale = model.hidden(token)
        nats = negative_log_softmax([dot(h, row) for row in model.head])
        d_logits = [times / pairs * math.exp(-x) for x in nats]  # softmax minus one-hot, over all its pairs
        for target, count in targets:
            loss += count * nats[target] / pairs
            d_logits[target] -= count / pairs
        d_hidden = [dot(d_logits, column) for column in head_columns]
        if model.input_rmsnorm:
            inner = dot(d_hidden, h) / size
            d_hidden = [scale * (d - x * inner) for d, x in zip(d_hidden, h, strict=True)]
        row = embedding_gradient[token]
        row[:] = [g + d for g, d in zip(row, d_hidden, strict=True)]
        for row, d in zip(head_gradient, d_logits, strict=True):
            row[:] = [g + d * x for g, x in zip(row, h, strict=True)]
    return loss, gradients


def score_pairs(logits: Callable[[Sequence[int]], Sequence[float]], rows: Batch) -> list[list[float]]:
    """The nats of every target, where the current token alone decides: each one's logits are worked out once."""
    nats = {current: negative_log_softmax(logits((current,))) for current in {t for row in rows for t in row[:-1]}}
    return [[nats[current][target] for current, target in pairwise(row)] for row in rows]


def negative_log_softmax(logits: Sequence[float]) -> list[float]:
    """The nats of every outcome: exact cross-entropy, no floor under the probabilities."""
    highest = max(logits)
    total = 0.0
    for x in logits:
        total += math.exp(x - highest)
    log_total = highest + math.log(total)
    return [log_total - x for x in logits]


def _contexts(batch: Batch) -> list[_Context]:
    pairs = Counter(pair for row in batch for pair in pairwise(row))
    targets: dict[int, list[tuple[int, int]]] = {}
    for (current, target), times in pairs.items():
        targets.setdefault(current, []).append((target, times))
    return [_Context(token, sum(times for _, times in found), found) for token, found in sorted(targets.items())]


def _norm(gradients: dict[str, Matrix]) -> float:
    total = 0.0
    for matrix in gradients.values():
        for row in matrix:
            total += dot_kernel(len(row))(row, row)
    return math.sqrt(total)
