"""Exact loss and bits per byte of a model on validation tokens, each token scored once."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

from engines.interfaces import LanguageModel, TokenIds

_TOKENS_AT_ONCE = 1 << 17
_NONZERO = bytes([0] + [1] * 255)
_IN_THE_MAKING = 4  # portions of rows that a device may work on before the host waits for the first


class Targets(NamedTuple):
    """Tokens of which all but the first are to be scored, and what is known of them before any model is."""

    tokens: memoryview
    size: int  # of the text, in bytes
    is_text: bytes  # for each target 1 or, where it is BOS, 0

    @classmethod
    def of(cls, tokens: memoryview, token_bytes: Sequence[int], limit: int = 0) -> "Targets":
        """The first `limit` targets among `tokens`; 0: all."""
        tokens = tokens[: limit + 1] if limit else tokens
        targets = tokens[1:]
        return cls(tokens, sum(map(token_bytes.__getitem__, targets)), _is_not_zero(targets))


def _is_not_zero(tokens: memoryview) -> bytes:
    """Return for each token 0 if it is 0 (BOS), else 1. Bytes are combined as two large integers: no loop in Python."""
    content, count = tokens.tobytes(), len(tokens)
    combined = 0
    for offset in range(tokens.itemsize):
        combined |= int.from_bytes(content[offset :: tokens.itemsize].translate(_NONZERO), "little")
    return combined.to_bytes(count, "little")


class Evaluation(NamedTuple):
    """`loss`: nats per token, BOS included. `bpb`: nats of the text's tokens / (ln 2 · bytes); BOS is not scored."""

    loss: float
    bpb: float
    tokens: int
    bytes: int


def evaluate(model: LanguageModel, targets: Targets, context_length: int, between: Callable[[], None]) -> Evaluation:
    """Score the targets in rows of `context_length`; `between` runs every few rows."""
    tokens, size, is_text = targets
    all_nats: list[float] = []
    for nats in _scores(model, _portions(tokens, context_length), between):
        all_nats += nats
    text_nats = list(compress(all_nats, is_text))
    bpb = _total(text_nats) / math.log(2) / size if size else math.nan
    return Evaluation(_mean(all_nats), bpb, len(is_text), size)


def _portions(tokens: memoryview, context_length: int) -> Iterator[list[TokenIds]]:
    """Rows, some at a time; each row ends with the token that the next one begins with."""
    targets = len(tokens) - 1
    stride = max(1, _TOKENS_AT_ONCE // context_length) * context_length
    for begin in range(0, targets, stride):
        starts = range(begin, min(begin + stride, targets), context_length)
        yield [tokens[start : start + context_length + 1].tolist() for start in starts]


def _scores(
    model: LanguageModel, portions: Iterable[list[TokenIds]], between: Callable[[], None]
) -> Iterator[list[float]]:
    """The nats of every row, read only when a few portions more are on their way."""
    pending: deque[Iterable[list[float]]] = deque()
    for rows in portions:
        pending.append(model.score(rows))
        if len(pending) > _IN_THE_MAKING:
            yield from pending.popleft()
        between()
    for found in pending:
        yield from found


def _mean(values: Sequence[float]) -> float:
    return _total(values) / len(values) if values else math.nan


def _total(values: Sequence[float]) -> float:
    """Exactly rounded, the same on every Python version; NaN or infinite sums stay what they are."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # infinities of both signs, or a sum past the largest float
        return math.nan
