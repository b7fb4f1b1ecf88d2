"""The KV cache of a GPT, and the attention contexts that fill it."""

import torch
from torch import Tensor

from engines.data.tokenizers import BOS
from engines.tensor.inference.decode_attention import decode_attention
from engines.tensor.models.attention_context import FullSequence
from engines.tensor.models.gpt import GPT


class KVCache:
    """Keys, values and other state of the tokens read so far of B rows, at fixed addresses."""

    def __init__(self, model: GPT, batch_size: int) -> None:
        settings, device = model.settings, model.device
        shape = batch_size, settings.kv_heads, model.context_length, settings.width // settings.heads
        # one tensor per layer: compiled code updates whole tensors in place
        self.keys, self.values = (
            [torch.zeros(shape, dtype=model.dtype, device=device) for _ in range(settings.layers)] for _ in "kv"
        )
        self.lengths = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.embedding = torch.zeros(batch_size, 1, settings.width, dtype=model.dtype, device=device)
        self.document_starts = torch.zeros_like(self.lengths) if settings.document_mask else None
        self.rows = torch.arange(batch_size, device=device)

    def clear(self) -> None:
        """Zero keys and values: a NaN would count even where it is masked."""
        for tensor in (*self.keys, *self.values):
            tensor.zero_()

    def state_besides_lengths(self) -> list[Tensor]:
        """Return what reading a token changes, except for keys and values, which are only overwritten."""
        return [self.embedding, *([] if self.document_starts is None else [self.document_starts])]


class PrefillContext(FullSequence):
    """Rows that are read from their first token, and stored in a cache."""

    def __init__(self, model: GPT, tokens: Tensor, row_index: Tensor, cache: KVCache) -> None:
        """`row_index` (B): the row of `tokens` that each row of the cache is."""
        super().__init__(model.settings, tokens)
        self._row_index = row_index
        self._cache = cache
        if cache.document_starts is not None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            is_start = (tokens[row_index] == BOS) & (positions < cache.lengths[:, None])
            cache.document_starts.copy_((is_start * positions).amax(1))

    def previous(self, x: Tensor) -> Tensor:
        self._cache.embedding.copy_(x[self._row_index, self._cache.lengths - 1].unsqueeze(1))
        return super().previous(x)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        self._cache.keys[layer][:, :, : k.shape[2]].copy_(k[self._row_index])
        self._cache.values[layer][:, :, : v.shape[2]].copy_(v[self._row_index])
        return super().attend(layer, q, k, v, window)


class DecodeContext:
    """One more token of each row, after those in the cache."""

    def __init__(self, cache: KVCache, tokens: Tensor) -> None:
        """`tokens` (B, 1)."""
        self._cache = cache
        self._starts_document = (tokens == BOS).squeeze(1)
        if cache.document_starts is not None:
            cache.document_starts.copy_(cache.lengths.where(self._starts_document, cache.document_starts))

    def previous(self, x: Tensor) -> Tensor:
        previous = self._cache.embedding.clone()
        self._cache.embedding.copy_(x)
        if self._cache.document_starts is not None:
            previous = previous.masked_fill(self._starts_document[:, None, None], 0.0)
        return previous

    def at_positions(self, table: Tensor) -> Tensor:
        return table[self._cache.lengths].unsqueeze(1)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        cache = self._cache
        keys, values = cache.keys[layer], cache.values[layer]
        keys[cache.rows, :, cache.lengths] = k[:, :, 0]
        values[cache.rows, :, cache.lengths] = v[:, :, 0]
        ends = cache.lengths + 1
        begins = (ends - window).clamp_min(0) if window else torch.zeros_like(ends)
        if cache.document_starts is not None:
            begins = torch.maximum(begins, cache.document_starts)
        return decode_attention(q, keys, values, begins, ends)
