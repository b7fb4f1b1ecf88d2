"""How a gpt reads rows of tokens: which positions they have, what precedes them, what their attention sees."""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.config import TrainSettings
from engines.data.tokenizers import BOS


class Reading(Protocol):
    """What `GPT.read` asks of the text that its tokens belong to."""

    def previous(self, x: Tensor) -> Tensor:
        """For embeddings (B, T, C) those of the tokens before, zeros where there is none."""

    def at_positions(self, table: Tensor) -> Tensor:
        """The tokens' rows of a table (positions, D): (T, D) or (B, T, D)."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        """What queries (B, heads, T, D) find in the keys and values of the text up to them; at most `window` tokens
        back, 0 for all."""


class Rows:
    """Whole rows, each from its beginning."""

    def __init__(self, settings: TrainSettings, tokens: Tensor, dtype: torch.dtype) -> None:
        self._length = tokens.shape[1]
        self._starts_document = tokens == BOS if settings.document_mask else None
        self._grouped = settings.kv_heads != settings.heads
        self._fused = torch.compiler.is_compiling() and tokens.is_cuda and dtype != torch.float64
        self._masks: dict[int, Any] = {}

    def previous(self, x: Tensor) -> Tensor:
        shifted = F.pad(x[:, :-1], (0, 0, 1, 0))
        if self._starts_document is None:
            return shifted
        return shifted.masked_fill(self._starts_document.unsqueeze(-1), 0.0)

    def at_positions(self, table: Tensor) -> Tensor:
        return table[: self._length]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        if not window and self._starts_document is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self._grouped)
        if window not in self._masks:
            make = self._block_mask if self._fused else self._mask
            self._masks[window] = make(window, q.device)
        mask = self._masks[window]
        if self._fused:
            from torch.nn.attention.flex_attention import flex_attention

            return flex_attention(q, k, v, block_mask=mask, enable_gqa=self._grouped)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=self._grouped)

    def _mask(self, window: int, device: torch.device) -> Tensor:
        """True where a query (rows) sees a key (columns): (T, T), or (B, 1, T, T) where documents differ."""
        positions = torch.arange(self._length, device=device)
        distance = positions[:, None] - positions
        seen = (distance >= 0) & (distance < (window or self._length))
        if self._starts_document is None:
            return seen
        document = self._starts_document.cumsum(1)
        return (seen & (document[:, :, None] == document[:, None, :])).unsqueeze(1)

    def _block_mask(self, window: int, device: torch.device) -> Any:
        from torch.nn.attention.flex_attention import create_block_mask  # its module takes a second to import

        reach = window or self._length

        def in_window(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (query >= key) & (query - key < reach)

        if self._starts_document is None:
            return create_block_mask(in_window, None, None, self._length, self._length, device=device)
        document = self._starts_document.cumsum(1)

        def in_document(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return in_window(b, h, query, key) & (document[b, query] == document[b, key])

        return create_block_mask(in_document, len(document), None, self._length, self._length, device=device)
