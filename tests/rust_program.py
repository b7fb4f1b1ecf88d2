"""Random numbers, data and training loop of the Rust program nanochat-rs-next, to reproduce the figures it printed.

Its generator is ChaCha with 12 rounds, keyed by PCG32 outputs of the seed. Its texts are not part of this repository:
if they are available next to the checkout, its printed figures are compared to every digit. The same loop always runs
on texts of our own, whose figures were recorded when those of the program's texts agreed.
"""

import math
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from engines.interfaces import Batch, StepHyperparameters, TokenIds
from engines.scalar.autograd import Node, Tape, Targets
from engines.scalar.kernels import softmax
from engines.scalar.learner import ScalarLearner
from engines.scalar.models import (
    ScalarBigram,
    ScalarMiniGPT,
    count_pairs,
    init_bigram,
    init_mini_gpt,
    list_targets,
)
from engines.scalar.optimizers import ScalarAdamW, ScalarSGD
from engines.training.schedules import get_lr_multiplier, round_half_up

PARITY = Path(__file__).resolve().parents[2] / "shared" / "parity"
_CLASSIC = """\
a small model reads one letter and guesses the next
the longer it reads the better it guesses
quick brown foxes jump over lazy dogs and every number can be seen
"""
OWN = {
    "classic": _CLASSIC,
    "futuristic": _CLASSIC
    + """
some day a model of this size may live in a watch
it will know the names of its friends and keep them to itself
""",
}
_FLOOR = 1e-12
_WINDOW = 9
_BIGRAM_DATA, _GPT_DATA = 0x9E3779B97F4A7C15, 0xA36CD6F215B39241  # seeds of the data's stream are xored with these
_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1


class StdRng:
    """The generator of `rand::StdRng::seed_from_u64`."""

    def __init__(self, seed: int) -> None:
        self._key = []
        for _ in range(8):
            seed = (seed * 6364136223846793005 + 11634580027462260723) & _M64
            mixed = (((seed >> 18) ^ seed) >> 27) & _M32
            turn = seed >> 59
            self._key.append(((mixed >> turn) | (mixed << (-turn & 31))) & _M32)
        self._counter = 0
        self._words: list[int] = []

    def u64(self) -> int:
        if len(self._words) < 2:
            self._words += self._block()
        low, high = self._words[:2]
        del self._words[:2]
        return low | high << 32

    def uniform(self, low: float, high: float) -> float:
        while True:
            (unit,) = struct.unpack("<d", struct.pack("<Q", (self.u64() >> 12) | (1023 << 52)))
            value: float = (unit - 1.0) * (high - low) + low
            if value < high:
                return value

    def below(self, n: int) -> int:
        zone = (n << (64 - n.bit_length())) - 1
        while True:
            product = self.u64() * n
            if product & _M64 <= zone:
                return product >> 64

    def _block(self) -> list[int]:
        start = [
            *struct.unpack("<4I", b"expand 32-byte k"),
            *self._key,
            self._counter & _M32,
            self._counter >> 32,
            0,
            0,
        ]
        self._counter += 1
        x = start[:]
        for _ in range(6):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                               (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):  # fmt: skip
                for one, other, into, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    x[one] = (x[one] + x[other]) & _M32
                    y = x[into] ^ x[one]
                    x[into] = ((y << turn) | (y >> (32 - turn))) & _M32
        return [(a + b) & _M32 for a, b in zip(x, start, strict=True)]


class FlooredBigram(ScalarBigram):
    """A bigram with loss and epsilon of the Rust program."""

    rms_eps = 1e-8

    def loss(self, tape: Tape, batch: Sequence[TokenIds]) -> Node:
        tokens, targets = count_pairs(batch)
        return floored_cross_entropy(tape, self.forward(tape, tokens), targets)


class FlooredMiniGPT(ScalarMiniGPT):
    """A mini-gpt with the loss of the Rust program."""

    def loss(self, tape: Tape, batch: Sequence[TokenIds]) -> Node:
        return floored_cross_entropy(tape, self.forward(tape, [row[:-1] for row in batch]), list_targets(batch))


def floored_cross_entropy(tape: Tape, logits: Node, targets: Targets, floor: float = _FLOOR) -> Node:
    """Sum −weight · log(p + floor) over all targets, as the Rust program does: (T, V) gives (1, 1)."""
    probabilities = [softmax(row) for row in logits.data]
    loss = 0.0
    for p, weighted in zip(probabilities, targets, strict=True):
        for target, weight in weighted:
            loss += weight * -math.log(p[target] + floor)
    saved = probabilities, targets, floor
    return tape.record([[loss]], "floored_cross_entropy", (logits,), _floored_cross_entropy_backward, saved)


def _floored_cross_entropy_backward(node: Node) -> None:
    (logits,) = node.parents
    assert node.grad is not None
    scale = node.grad[0][0]
    probabilities, targets, floor = node.saved
    grad = []
    for p, weighted in zip(probabilities, targets, strict=True):
        row = [0.0] * len(p)
        total = 0.0
        for target, weight in weighted:
            share = scale * weight * (p[target] / (p[target] + floor))
            row[target] -= share
            total += share
        grad.append([total * value + own for value, own in zip(p, row, strict=True)])
    logits.accumulate_grad(grad)


class Tokens(NamedTuple):
    train: list[int]
    val: list[int]
    vocab_size: int


def load_original_text(style: str) -> str | None:
    """Return the text that the Rust program was trained on, or None if it is not available."""
    if not PARITY.exists():
        return None
    text = (PARITY / "ancestor_input.txt").read_text()
    return text if style == "classic" else text + "\n" + (PARITY / "ancestor_futuristic.txt").read_text()


def encode_text(text: str) -> Tokens:
    """Encode a text as the Rust program does: sorted characters from 1 on, after BOS; a tenth is for validation."""
    ids = {character: index for index, character in enumerate(sorted(set(text)), 1)}
    stream = [0, *(ids[character] for character in text)]
    val = round_half_up(len(stream) * 0.1)
    return Tokens(stream[:-val], stream[-val:], len(ids) + 1)


class Figures(NamedTuple):
    final: float
    val: float
    mean_of_last_50: float


def train_bigram(
    text: str,
    optimizer: str,
    steps: int,
    tied: bool = True,
    rmsnorm: bool = False,
    schedule: str = "linear",
    seed: int = 1337,
) -> Figures:
    data, stream = encode_text(text), StdRng(seed ^ _BIGRAM_DATA)
    model = FlooredBigram(init_bigram(data.vocab_size, tied, StdRng(seed)), rmsnorm)
    pairs = len(data.train) - 1

    def batch() -> list[list[int]]:
        start = stream.below(pairs)
        return [data.train[start : start + 2]]

    losses = _train(model, optimizer, {"sgd": 0.1, "adamw": 0.03}[optimizer], steps, batch, schedule)
    return _figures(losses, _loss(model, [data.val]))


def train_gpt(text: str, optimizer: str, steps: int, rmsnorm: bool = False, seed: int = 1337) -> Figures:
    data, stream = encode_text(text), StdRng(seed ^ _GPT_DATA)
    model = FlooredMiniGPT(init_mini_gpt(data.vocab_size, 16, 1, 8, True, StdRng(seed)), 4, rmsnorm, False)

    def batch() -> list[list[int]]:
        start = stream.below(len(data.train) - _WINDOW + 1)
        return [data.train[start : start + _WINDOW]]

    losses = _train(model, optimizer, {"sgd": 0.02, "adamw": 0.01}[optimizer], steps, batch)
    stride = max(1, (len(data.val) - _WINDOW) // 32)
    starts = range(0, len(data.val) - _WINDOW + 1, stride)[:32]
    windows = [_loss(model, [data.val[start : start + _WINDOW]]) for start in starts]
    return _figures(losses, sum(windows) / len(windows))


def _train(
    model: ScalarBigram | ScalarMiniGPT,
    optimizer: str,
    lr: float,
    steps: int,
    batch: Callable[[], list[list[int]]],
    schedule: str = "linear",
) -> list[float]:
    by_name = {"sgd": ScalarSGD(model.parameters), "adamw": ScalarAdamW(model.parameters, 0.9, 0.999, 1e-8, 0.01)}
    learner = ScalarLearner(model, by_name[optimizer])
    for step in range(steps):
        learner.step(
            Batch.from_rows(batch()), StepHyperparameters(lr * get_lr_multiplier(step, steps, schedule, 0.0, 0.5, 0.0))
        )
    return [result.loss for result in learner.pop_results()]


def _loss(model: ScalarBigram | ScalarMiniGPT, rows: list[list[int]]) -> float:
    return model.loss(Tape(), rows).item()


def _figures(losses: list[float], val: float) -> Figures:
    last = losses[-50:]
    return Figures(losses[-1], val, sum(last) / len(last))
