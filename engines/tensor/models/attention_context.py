"""How a gpt reads rows of tokens: which positions they have, what precedes them, what their attention sees."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.data.tokenizers import BOS
from engines.settings.train import TrainSettings

# Tokens of a window from which on portions are faster than a mask on a processor, gradients included: two threads of an
# AMD EPYC took 0.3 times as long for 256 of 2,048 tokens, half for 512 and for 64 of 512, 0.8 for 32 of 256, and 1.5
# for 16 of 128.
_SMALLEST_PORTION = 32


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

    def __init__(
        self,
        settings: TrainSettings,
        tokens: Tensor,
        block_masks: Mapping[int, Any] | None = None,
    ) -> None:
        """`block_masks`: of the windows that compiled code will ask for."""
        self._length = tokens.shape[1]
        self._starts_document = tokens == BOS if settings.document_mask else None
        self._grouped = settings.kv_heads != settings.heads
        self._block_masks = block_masks or {}
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
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self._grouped)
        if window in self._block_masks:
            from torch.nn.attention.flex_attention import flex_attention

            return flex_attention(q, k, v, block_mask=self._block_masks[window], enable_gqa=self._grouped)
        if self._starts_document is None and window >= _SMALLEST_PORTION and self._length % window == 0:
            return _in_portions(q, k, v, window, self._grouped)
        if window not in self._masks:
            self._masks[window] = self._mask(window, q.device)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self._masks[window], enable_gqa=self._grouped)

    def _mask(self, window: int, device: torch.device) -> Tensor:
        """True where a query (rows) sees a key (columns): (T, T), or (B, 1, T, T) where documents differ."""
        positions = torch.arange(self._length, device=device)
        distance = positions[:, None] - positions
        seen = (distance >= 0) & (distance < (window or self._length))
        if self._starts_document is None:
            return seen
        document = self._starts_document.cumsum(1)
        return (seen & (document[:, :, None] == document[:, None, :])).unsqueeze(1)


def _in_portions(q: Tensor, k: Tensor, v: Tensor, window: int, grouped: bool) -> Tensor:
    """Attention within a window, of as many queries as it is long at once: they see no keys but those of their own
    portion and of the one before."""
    first_q, first_k, first_v = (part[:, :, :window] for part in (q, k, v))
    found: Tensor = F.scaled_dot_product_attention(first_q, first_k, first_v, is_causal=True, enable_gqa=grouped)
    if q.shape[2] == window:
        return found
    rows = len(q)
    asked = _portions(q[:, :, window:], window)
    keys, values = (
        torch.cat((_portions(part[:, :, :-window], window), _portions(part[:, :, window:], window)), 2)
        for part in (k, v)
    )
    distance = window + torch.arange(window, device=q.device)[:, None] - torch.arange(2 * window, device=q.device)
    seen = (distance >= 0) & (distance < window)
    later = F.scaled_dot_product_attention(asked, keys, values, attn_mask=seen, enable_gqa=grouped)
    later = later.unflatten(0, (rows, -1)).transpose(1, 2).flatten(2, 3)
    return torch.cat((found, later), 2)


def _portions(x: Tensor, length: int) -> Tensor:
    """(B, heads, T, D) as (B * portions, heads, length, D)."""
    portions: Tensor = x.unflatten(2, (-1, length))
    return portions.transpose(1, 2).flatten(0, 1)


def block_masks(settings: TrainSettings, tokens: Tensor, windows: Iterable[int]) -> dict[int, Any]:
    """For each window, the same as blocks for compiled flex attention, which skips those that nobody sees."""
    starts_document = tokens == BOS if settings.document_mask else None
    return {window: _block_mask(starts_document, tokens, window) for window in windows}


def _block_mask(starts_document: Tensor | None, tokens: Tensor, window: int) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask  # its module takes a second to import

    rows, length = tokens.shape
    reach = window or length

    def in_window(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < reach)

    if starts_document is None:
        return create_block_mask(in_window, None, None, length, length, device=tokens.device)
    document = starts_document.cumsum(1)

    def in_document(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return in_window(b, h, query, key) & (document[b, query] == document[b, key])

    return create_block_mask(in_document, rows, None, length, length, device=tokens.device)
