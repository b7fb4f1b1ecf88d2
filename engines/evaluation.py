"""Exact loss and bits per byte of a model on validation tokens, each token scored once."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from engines.data.tokenizers import BOS
from engines.engine import LanguageModel

_TOKENS_AT_ONCE = 1 << 17


class Evaluation(NamedTuple):
    """`loss`: nats per token, BOS included. `bpb`: nats of the text's tokens / (ln 2 · bytes); BOS is not scored."""

    loss: float
    bpb: float
    tokens: int
    bytes: int


def evaluate(
    model: LanguageModel,
    tokens: memoryview,
    token_bytes: Sequence[int],
    context_length: int,
    limit: int,
    between: Callable[[], None],
) -> Evaluation:
    """Score `tokens` (the first `limit` targets; 0: all) in rows of `context_length`; `between` runs every few rows."""
    targets = len(tokens) - 1 if limit == 0 else min(limit, len(tokens) - 1)
    all_nats, text_nats, size = [], [], 0
    stride = max(1, _TOKENS_AT_ONCE // context_length) * context_length
    for begin in range(0, targets, stride):
        end = min(begin + stride, targets)
        rows = [
            tokens[start : min(start + context_length, targets) + 1].tolist()
            for start in range(begin, end, context_length)
        ]
        for row, nats in zip(rows, model.score(rows), strict=True):
            all_nats += nats
            text_nats += [n for n, target in zip(nats, row[1:], strict=True) if target != BOS]
            size += sum(token_bytes[target] for target in row[1:])
        between()
    return Evaluation(_mean(all_nats), _total(text_nats) / math.log(2) / size if size else math.nan, targets, size)


def _mean(values: Sequence[float]) -> float:
    return _total(values) / len(values) if values else math.nan


def _total(values: Sequence[float]) -> float:
    """Exactly rounded, the same on every Python version; NaN or infinite sums stay what they are."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # infinities of both signs, or a sum past the largest float
        return math.nan
