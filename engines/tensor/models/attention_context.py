"""Attention contexts: full sequences with a causal mask, sliding windows and document masks."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.data.tokenizers import BOS
from engines.settings.train import TrainSettings
from engines.tensor.models.layers import attend

# Shortest window that is computed by chunks instead of a mask. Measured with gradients on two threads of an AMD EPYC:
# chunks took 0.3 times as long for a window of 256 of 2,048 tokens, 0.5 for 512 of 2,048 and for 64 of 512, 0.8 for
# 32 of 256, and 1.5 for 16 of 128.
MIN_CHUNKED_WINDOW = 32


class AttentionContext(Protocol):
    """The text that a GPT's tokens belong to."""

    def previous(self, x: Tensor) -> Tensor:
        """Return the previous token's embedding for each of x (B, T, C); zeros where there is none."""

    def at_positions(self, table: Tensor) -> Tensor:
        """Return the tokens' rows of `table` (positions, D): (T, D) or (B, T, D)."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        """Return attention outputs (B, heads, T, D) for q (B, heads, T, D), k and v (B, kv_heads, T, D).

        Each query sees the last `window` positions up to its own, all if 0.
        """


class FullSequence:
    """Rows of tokens, each from its first position."""

    def __init__(self, settings: TrainSettings, tokens: Tensor, min_chunked_window: int = MIN_CHUNKED_WINDOW) -> None:
        self._length = tokens.shape[1]
        self._starts_document = tokens == BOS if settings.document_mask else None
        self._min_chunked_window = min_chunked_window
        self._masks: dict[int, Tensor] = {}

    def previous(self, x: Tensor) -> Tensor:
        shifted = F.pad(x[:, :-1], (0, 0, 1, 0))
        if self._starts_document is None:
            return shifted
        return shifted.masked_fill(self._starts_document.unsqueeze(-1), 0.0)

    def at_positions(self, table: Tensor) -> Tensor:
        return table[: self._length]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        if self._starts_document is None and not window:
            return attend(q, k, v)
        if self._starts_document is None and window >= self._min_chunked_window and self._length % window == 0:
            return sliding_window_attention(q, k, v, window)
        if window not in self._masks:
            self._masks[window] = self._build_mask(window, q.device)
        return attend(q, k, v, self._masks[window])

    def _build_mask(self, window: int, device: torch.device) -> Tensor:
        """True where a query (rows) sees a key (columns): (T, T), or (B, 1, T, T) with document masks."""
        positions = torch.arange(self._length, device=device)
        distance = positions[:, None] - positions
        mask = (distance >= 0) & (distance < (window or self._length))
        if self._starts_document is None:
            return mask
        document = self._starts_document.cumsum(1)  # (B, T)
        return (mask & (document[:, :, None] == document[:, None, :])).unsqueeze(1)


def sliding_window_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Return attention outputs (B, heads, T, D) within a window that divides T, by chunks as long as the window.

    The queries of a chunk see no keys but those of their own chunk and the previous one.
    """
    first = attend(*(x[:, :, :window] for x in (q, k, v)))
    if q.shape[2] == window:
        return first
    batch_size = len(q)
    queries = _split_chunks(q[:, :, window:], window)  # (B * chunks, heads, window, D)
    keys, values = (
        torch.cat((_split_chunks(x[:, :, :-window], window), _split_chunks(x[:, :, window:], window)), 2)
        for x in (k, v)
    )  # (B * chunks, kv_heads, 2 * window, D)
    distance = window + torch.arange(window, device=q.device)[:, None] - torch.arange(2 * window, device=q.device)
    mask = (distance >= 0) & (distance < window)
    rest = attend(queries, keys, values, mask)
    rest = rest.unflatten(0, (batch_size, -1)).transpose(1, 2).flatten(2, 3)  # (B, heads, T - window, D)
    return torch.cat((first, rest), 2)


def _split_chunks(x: Tensor, length: int) -> Tensor:
    """(B, heads, T, D) as (B * chunks, heads, length, D)."""
    chunks: Tensor = x.unflatten(2, (-1, length))
    return chunks.transpose(1, 2).flatten(0, 1)
