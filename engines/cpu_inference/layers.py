"""Layers without weights, and attention to a KV cache."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]  # numpy.typing takes as long to import as fifty tokens
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

_QUERIES_PER_CHUNK = 256  # whose scores are in memory at once


def rms_norm(x: Floats, eps: float) -> Floats:
    """Return x / sqrt(mean(x²) + eps), over the last dimension."""
    mean_square = np.vecdot(x, x)[..., None] / x.shape[-1]
    normed: Floats = x / np.sqrt(mean_square + eps)
    return normed


def sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))


def tanh_softcap(logits: Floats, softcap: float) -> Floats:
    """Return softcap * tanh(logits / softcap); a softcap of 0 changes nothing."""
    return softcap * np.tanh(logits / softcap) if softcap else logits


def relu(x: Floats) -> Floats:
    return np.maximum(x, 0.0)


def relu2(x: Floats) -> Floats:
    return np.square(np.maximum(x, 0.0))


_erf = np.frompyfunc(math.erf, 1, 1)  # which numpy lacks


def gelu(x: Floats) -> Floats:
    """Return x times the probability that a standard normal number is below x."""
    probability: Floats = 0.5 + 0.5 * np.asarray(_erf(x * math.sqrt(0.5)), x.dtype)
    return x * probability


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu2": relu2, "relu": relu, "gelu": gelu}


def softmax(scores: Floats) -> Floats:
    """Return exp(x) / Σ exp(x), over the last dimension."""
    weights: Floats = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return weights


def attend(q: Floats, keys: Floats, values: Floats, window: int = 0, documents: Ints | None = None) -> Floats:
    """Return attention outputs (B, T, C) of scaled queries q (B, T, heads, D) at the last T positions of the text.

    `keys` and `values` (B, kv_heads, positions, D). Each query sees the last `window` positions up to its own, all if
    0, and only those of its own document: `documents` (B, positions) has the number of each position's.
    """
    batch_size, length, heads, head_size = q.shape
    kv_heads, positions = keys.shape[1:3]
    q = q.reshape(batch_size, length, kv_heads, -1, head_size).transpose(0, 2, 3, 1, 4)  # (B, kv_heads, group, T, D)
    outputs = []
    for first in range(0, length, _QUERIES_PER_CHUNK):
        chunk = q[:, :, :, first : first + _QUERIES_PER_CHUNK]
        query = positions - length + first  # position of the chunk's first query
        end = query + chunk.shape[3]
        begin = max(0, query - window + 1) if window else 0
        mask = _build_mask(query, begin, end, window, documents)
        outputs.append(_attend_chunk(chunk, keys[:, :, begin:end], values[:, :, begin:end], mask))
    joined = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=3)
    return joined.transpose(0, 3, 1, 2, 4).reshape(batch_size, length, heads * head_size)


def _attend_chunk(q: Floats, keys: Floats, values: Floats, mask: Bools | None) -> Floats:
    """Return outputs of the shape of q (B, kv_heads, group, T, D); `mask` (T, positions) or (B, 1, 1, T, positions)."""
    rows = q.reshape(*q.shape[:2], -1, q.shape[-1])  # (B, kv_heads, group * T, D)
    scores = rows @ keys.swapaxes(2, 3)
    if mask is not None:
        shape = scores.shape
        scores = np.where(mask, scores.reshape(*q.shape[:4], -1), -np.inf).reshape(shape)
    return (softmax(scores) @ values).reshape(q.shape)


def _build_mask(query: int, begin: int, end: int, window: int, documents: Ints | None) -> Bools | None:
    """Return which of the positions from `begin` are visible to the queries from `query` to `end`; None if all are."""
    mask = None
    if end - query > 1:
        distance = np.arange(query, end)[:, None] - np.arange(begin, end)
        mask = (distance >= 0) & (distance < (window or end))
    if documents is not None:
        is_same = documents[:, query:end, None] == documents[:, None, begin:end]  # (B, T, positions)
        mask = is_same[:, None, None] if mask is None else mask & is_same[:, None, None]
    return mask
