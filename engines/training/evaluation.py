"""Exact loss and bits per byte of a model on validation tokens, each token scored once."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

from engines.interfaces import LanguageModel, TokenIds

CHUNK_TOKENS = 1 << 17  # targets that are scored at once
_NONZERO = bytes([0] + [1] * 255)
_MAX_PENDING = 4  # chunks of rows that a device may work on before the host waits for the first


class Targets(NamedTuple):
    """Tokens, of which all but the first are scored, and what is known about them without a model."""

    tokens: memoryview
    size: int  # of the text, in bytes
    is_text: bytes  # for each target 1, or 0 if it is BOS

    @classmethod
    def of(cls, tokens: memoryview, token_bytes: Sequence[int], limit: int = 0) -> "Targets":
        """Return the first `limit` targets among `tokens`; 0: all. `token_bytes`: bytes of text of each token id."""
        tokens = tokens[: limit + 1] if limit else tokens
        targets = tokens[1:]
        return cls(tokens, sum(map(token_bytes.__getitem__, targets)), _is_not_zero(targets))


def _is_not_zero(tokens: memoryview) -> bytes:
    """Return for each token 0 if it is 0 (BOS), else 1. Bytes are combined as large integers, without a Python loop."""
    content, count = tokens.tobytes(), len(tokens)
    combined = 0
    for offset in range(tokens.itemsize):
        combined |= int.from_bytes(content[offset :: tokens.itemsize].translate(_NONZERO), "little")
    return combined.to_bytes(count, "little")


class Evaluation(NamedTuple):
    """`loss`: nats per token, BOS included. `bpb`: nats of the text without BOS / (ln 2 · bytes)."""

    loss: float
    bpb: float
    tokens: int
    bytes: int


def evaluate(
    model: LanguageModel,
    targets: Targets,
    context_length: int,
    between: Callable[[], None],
    chunk_tokens: int = CHUNK_TOKENS,
) -> Evaluation:
    """Return the evaluation of a model, in rows of `context_length` tokens.

    `between` is called after each chunk of `chunk_tokens` targets.
    """
    tokens, size, is_text = targets
    all_nats: list[float] = []
    for nats in _score_chunks(model, _split_rows(tokens, context_length, chunk_tokens), between):
        all_nats += nats
    text_nats = list(compress(all_nats, is_text))
    bpb = _total(text_nats) / math.log(2) / size if size else math.nan
    return Evaluation(_mean(all_nats), bpb, len(is_text), size)


def _split_rows(tokens: memoryview, context_length: int, chunk_tokens: int) -> Iterator[list[TokenIds]]:
    """Yield chunks of rows. Each row ends with the token that the next one begins with."""
    targets = len(tokens) - 1
    stride = max(1, chunk_tokens // context_length) * context_length
    for begin in range(0, targets, stride):
        starts = range(begin, min(begin + stride, targets), context_length)
        yield [tokens[start : start + context_length + 1].tolist() for start in starts]


def _score_chunks(
    model: LanguageModel, chunks: Iterable[list[TokenIds]], between: Callable[[], None]
) -> Iterator[list[float]]:
    """Yield the nats of every row. A chunk is read only when a few later ones were dispatched."""
    pending: deque[Iterable[list[float]]] = deque()
    for rows in chunks:
        pending.append(model.score(rows))
        if len(pending) > _MAX_PENDING:
            yield from pending.popleft()
        between()
    for nats in pending:
        yield from nats


def _mean(values: Sequence[float]) -> float:
    return _total(values) / len(values) if values else math.nan


def _total(values: Sequence[float]) -> float:
    """Return the exactly rounded sum, the same on every Python version; NaN if it is not defined."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # infinities of both signs, or a sum beyond the largest float
        return math.nan
