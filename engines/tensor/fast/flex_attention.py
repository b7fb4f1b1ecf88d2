"""Attention with windows or document masks by torch's flex attention, which skips blocks that no query sees.

Only compiled code runs it efficiently, and only on CUDA does it have gradients.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from engines.data.tokenizers import BOS
from engines.settings.train import TrainSettings
from engines.tensor.models.attention_context import FullSequence

MIN_HEAD_SIZE = 16  # that flex attention takes

BuildMasks = Callable[[Tensor], dict[int, Any]]


class FlexContext:
    """Builds the context of a training step: block masks by window, from the step's tokens."""

    def __init__(self, build_masks: BuildMasks) -> None:
        self.build_masks = build_masks

    def __call__(self, settings: TrainSettings, tokens: Tensor) -> "FlexSequence":
        return FlexSequence(settings, tokens, self.build_masks(tokens))


class FlexSequence(FullSequence):
    """Rows of tokens whose windows have block masks."""

    def __init__(self, settings: TrainSettings, tokens: Tensor, block_masks: Mapping[int, Any]) -> None:
        super().__init__(settings, tokens)
        self._block_masks = block_masks

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        if window not in self._block_masks:
            return super().attend(layer, q, k, v, window)
        from torch.nn.attention.flex_attention import flex_attention  # its module takes a second to import

        return flex_attention(q, k, v, block_mask=self._block_masks[window], enable_gqa=q.shape[1] != k.shape[1])


def build_block_masks(settings: TrainSettings, tokens: Tensor, windows: Iterable[int]) -> dict[int, Any]:
    """Return a block mask for each window (0: all positions) and, with document masks, each of `tokens` (B, T)."""
    starts_document = tokens == BOS if settings.document_mask else None
    return {window: _build_block_mask(starts_document, tokens, window) for window in windows}


def _build_block_mask(starts_document: Tensor | None, tokens: Tensor, window: int) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    batch_size, length = tokens.shape
    reach = window or length

    def in_window(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < reach)

    if starts_document is None:
        return create_block_mask(in_window, None, None, length, length, device=tokens.device)
    document = starts_document.cumsum(1)

    def in_document(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return in_window(b, h, query, key) & (document[b, query] == document[b, key])

    return create_block_mask(in_document, batch_size, None, length, length, device=tokens.device)
