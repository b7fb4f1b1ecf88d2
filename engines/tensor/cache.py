"""Generation by the gpt with a cache: keys and values of what was read stay on the device, so that a token costs the
same at any length. Rows may differ in length. On CUDA the work of a token is recorded once and replayed as a graph.

A row that fills the context loses its older half, and the rest is read again: no token is drawn from a context that
is shorter than half of what the model was made for.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.config import SampleSettings
from engines.data.tokenizers import BOS
from engines.decoding import ALTERNATIVES
from engines.engine import Drawn, Row
from engines.tensor.devices import exact_dtype, sent
from engines.tensor.gpt import GPT
from engines.tensor.models import Arrival
from engines.tensor.reading import Rows
from engines.tensor.recorded import Recorded

_COLDEST = 1e-30  # float32 divides by it safely; below it a temperature changes nothing any more


class CachedDecoder:
    """Texts in the making by one model."""

    def __init__(self, model: GPT, prompts: Sequence[Row]) -> None:
        self._model = model
        self._rows = [list(prompt) for prompt in prompts]
        self._cache = _Cache(model, len(prompts))
        self._logits = torch.empty(0)
        self._step: Callable[[Tensor], Tensor] | None = None
        self._read_all()

    @torch.no_grad()
    def draw(self, settings: SampleSettings, uniforms: Sequence[float]) -> list[Drawn]:
        numbers = sent(torch.tensor(uniforms, dtype=torch.float32), self._model.device)
        return _told(Arrival(_drawn(self._logits, settings, numbers)).numbers())

    @torch.no_grad()
    def read(self, tokens: Sequence[int]) -> None:
        for row, token in zip(self._rows, tokens, strict=True):
            row.append(token)
        if max(map(len, self._rows)) > self._model.context_length:
            self._read_all()
            return
        new = sent(torch.tensor(tokens)[:, None], self._model.device)
        if self._step is None:
            self._step = self._next_logits
            if new.is_cuda:
                self._step = self._recorded(new)
        self._logits = self._step(new)
        self._cache.lengths += 1

    @torch.no_grad()
    def _read_all(self) -> None:
        """Read every row from its beginning, or from the middle of what does not fit."""
        longest = self._model.context_length
        self._rows = [row if len(row) <= longest else row[-max(1, longest // 2) :] for row in self._rows]
        lengths = [len(row) for row in self._rows]
        filled = [[*row, *[0] * (max(lengths) - len(row))] for row in self._rows]
        tokens = self._model.tensor(filled)
        self._cache.lengths.copy_(torch.tensor(lengths))
        logits = self._model.read(tokens, _Prompt(self._model, tokens, self._cache))
        last = logits[torch.arange(len(lengths), device=tokens.device), self._cache.lengths - 1]
        self._logits = last

    def _next_logits(self, tokens: Tensor) -> Tensor:
        return self._model.read(tokens, _NextToken(self._cache, tokens))[:, 0]

    def _recorded(self, tokens: Tensor) -> Recorded:
        """The work of a token; what rehearsals of it change is put back."""
        changing = self._cache.changing()
        before = [tensor.clone() for tensor in changing]
        recorded = Recorded(self._next_logits, (tokens,))
        for tensor, old in zip(changing, before, strict=True):
            tensor.copy_(old)
        return recorded


class _Cache:
    """What was read of each row, at addresses that never change."""

    def __init__(self, model: GPT, rows: int) -> None:
        settings = model.settings
        shape = settings.layers, 2, rows, settings.kv_heads, model.context_length, model.head_size
        self.keys_and_values = torch.zeros(shape, dtype=model.dtype, device=model.device)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=model.device)
        self.embedding = torch.zeros(rows, 1, settings.width, dtype=model.dtype, device=model.device)
        self.document_starts = torch.zeros_like(self.lengths) if settings.document_mask else None
        self.grouped = settings.kv_heads != settings.heads
        self.positions = torch.arange(model.context_length, device=model.device)
        self.row = torch.arange(rows, device=model.device)

    def changing(self) -> list[Tensor]:
        """What reading a token changes, but for keys and values, which are only written again."""
        return [self.embedding, *([] if self.document_starts is None else [self.document_starts])]


class _Prompt(Rows):
    """Rows that are read from their beginning, and remembered."""

    def __init__(self, model: GPT, tokens: Tensor, cache: _Cache) -> None:
        super().__init__(model.settings, tokens, model.dtype)
        self._cache = cache
        if cache.document_starts is not None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            begins = (tokens == BOS) & (positions < cache.lengths[:, None])
            cache.document_starts.copy_((begins * positions).amax(1))

    def previous(self, x: Tensor) -> Tensor:
        self._cache.embedding.copy_(x[self._cache.row, self._cache.lengths - 1].unsqueeze(1))
        return super().previous(x)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        keys, values = self._cache.keys_and_values[layer]
        keys[:, :, : k.shape[2]].copy_(k)
        values[:, :, : v.shape[2]].copy_(v)
        return super().attend(layer, q, k, v, window)


class _NextToken:
    """One token more of each row, behind what the cache holds."""

    def __init__(self, cache: _Cache, tokens: Tensor) -> None:
        self._cache = cache
        self._begins = (tokens == BOS).squeeze(1)
        if cache.document_starts is not None:
            cache.document_starts.copy_(cache.lengths.where(self._begins, cache.document_starts))

    def previous(self, x: Tensor) -> Tensor:
        before = self._cache.embedding.clone()
        self._cache.embedding.copy_(x)
        if self._cache.document_starts is not None:
            before = before.masked_fill(self._begins[:, None, None], 0.0)
        return before

    def at_positions(self, table: Tensor) -> Tensor:
        return table[self._cache.lengths].unsqueeze(1)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        cache = self._cache
        keys, values = cache.keys_and_values[layer]
        keys[cache.row, :, cache.lengths] = k[:, :, 0]
        values[cache.row, :, cache.lengths] = v[:, :, 0]
        seen = cache.positions <= cache.lengths[:, None]  # (B, positions)
        if window:
            seen &= cache.positions > cache.lengths[:, None] - window
        if cache.document_starts is not None:
            seen &= cache.positions >= cache.document_starts[:, None]
        return F.scaled_dot_product_attention(
            q, keys, values, attn_mask=seen[:, None, None, :], enable_gqa=cache.grouped
        )


def _drawn(logits: Tensor, settings: SampleSettings, uniforms: Tensor) -> Tensor:
    """As `engines.decoding.draw`, on the device: for each row of logits (B, V) the token, its probability, and the
    likeliest tokens with theirs, as one tensor (B, 2 + 2 * alternatives) of numbers."""
    probabilities = logits.softmax(-1)
    likeliest = probabilities.topk(min(ALTERNATIVES, logits.shape[-1]))
    colder = (logits - logits.amax(-1, keepdim=True)) / max(settings.temperature, _COLDEST)
    ordered, tokens = colder.softmax(-1).sort(stable=True, dim=-1, descending=True)  # of equals the first, as `draw`
    if settings.top_k:
        ordered[:, settings.top_k :] = 0.0
    if settings.top_p < 1.0:
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.where(before < settings.top_p * ordered.sum(-1, keepdim=True), 0.0)
    held = ordered.cumsum(-1)
    place = (held <= uniforms[:, None] * held[:, -1:]).sum(-1, keepdim=True)
    place = place.where(place < (ordered > 0.0).sum(-1, keepdim=True), 0)  # rounding left a crumb
    token = tokens.gather(-1, place)
    parts = token, probabilities.gather(-1, token), likeliest.indices, likeliest.values
    return torch.cat([part.to(exact_dtype(logits.device)) for part in parts], dim=-1)  # it holds a token's number


def _told(numbers: Tensor) -> list[Drawn]:
    found = []
    for token, probability, *likeliest in numbers.tolist():
        half = len(likeliest) // 2
        pairs = zip(likeliest[:half], likeliest[half:], strict=True)
        found.append(Drawn(int(token), probability, [(int(i), p) for i, p in pairs]))
    return found
