"""Generation by the gpt with a cache: keys and values of what was read stay on the device, so that a token costs the
same at any length. Rows may differ in length.

A row that fills the context loses its older half, and the rest is read again: no token is drawn from a context that
is shorter than half of what the model was made for.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from engines.data.tokenizers import BOS
from engines.interfaces import SampledToken, TokenIds
from engines.settings.sample import SampleSettings
from engines.tensor.devices import sent
from engines.tensor.inference.captured_decode import Turns
from engines.tensor.inference.decode_attention import attend_one
from engines.tensor.inference.sampling import Drawing, chosen
from engines.tensor.models.attention_context import Rows
from engines.tensor.models.gpt import GPT


class CachedDecoder:
    """Texts in the making by one model. Its room is left to the next decoder of as many, which need not record a turn.

    Nothing may refer to a decoder from what it holds: what lives while a turn is recorded is never looked through."""

    def __init__(self, model: GPT, prompts: Sequence[TokenIds]) -> None:
        self._room = _room_of(model, len(prompts))
        weakref.finalize(self, setattr, model, "spare_room", self._room).atexit = False
        self._model, self._cache = self._room.model, self._room.cache
        self._rows = [list(prompt) for prompt in prompts]
        self._logits = torch.empty(0)
        self._read_all()

    @torch.no_grad()
    def draw(self, settings: SampleSettings, uniforms: Sequence[float]) -> list[SampledToken]:
        """The next token of each row, each by a number in [0, 1); not read yet."""
        tokens = chosen(self._logits, settings, self._numbers([uniforms])[0])
        return Drawing(self._logits.unsqueeze(0), tokens.unsqueeze(0)).told()[0]

    @torch.no_grad()
    def read(self, tokens: Sequence[int]) -> None:
        """One token more for each row."""
        self._note(tokens)
        if self._longest > self._model.context_length:
            self._read_all()
            return
        self._logits = self._room.next_logits(sent(torch.tensor(tokens), self._model.device))
        self._cache.lengths += 1

    def stream(self, settings: SampleSettings, uniforms: Iterable[Sequence[float]]) -> Iterator[list[SampledToken]]:
        if self._model.device.type == "cuda":
            yield from self._stream_ahead(settings, iter(uniforms))
            return
        drawn: list[SampledToken] = []
        for numbers in uniforms:
            if drawn:
                self.read([one.id for one in drawn])
            drawn = self.draw(settings, numbers)
            yield drawn

    def _stream_ahead(
        self, settings: SampleSettings, uniforms: Iterator[Sequence[float]]
    ) -> Iterator[list[SampledToken]]:
        """The device draws and reads many tokens by itself, and the next ones while those are told. The first one is
        told alone, before a turn is recorded where none is."""
        told: Drawing | None = None
        most = 1 if self._room.has_turns(settings) else 0
        while True:
            room = self._model.context_length - self._longest - (told.turns if told else 0)
            drawing = self._begin(settings, list(islice(uniforms, min(room, most))))
            most = Turns.MOST
            if told:
                for drawn in told.told():
                    self._note([one.id for one in drawn])
                    yield drawn
            told = drawing
            if told is None:
                numbers = next(uniforms, None)
                if numbers is None:
                    return
                drawn = self.draw(settings, numbers)
                yield drawn
                self.read([one.id for one in drawn])

    @torch.no_grad()
    def _begin(self, settings: SampleSettings, uniforms: list[Sequence[float]]) -> Drawing | None:
        """Have as many tokens drawn and read as there are numbers for each row; None if there are none."""
        if not uniforms:
            return None
        turns = self._room.turns_with(settings, self._logits)
        drawing = turns.take(self._logits, self._numbers(uniforms))
        self._logits = turns.logits
        return drawing

    def _note(self, tokens: Sequence[int]) -> None:
        for row, token in zip(self._rows, tokens, strict=True):
            row.append(token)

    @property
    def _longest(self) -> int:
        return max(map(len, self._rows))

    def _numbers(self, uniforms: Sequence[Sequence[float]]) -> Tensor:
        return sent(torch.tensor(uniforms, dtype=torch.float32), self._model.device)

    @torch.no_grad()
    def _read_all(self) -> None:
        """Read every row from its beginning, or from the middle of what does not fit. Equal rows are read once."""
        longest = self._model.context_length
        self._rows = [row if len(row) <= longest else row[-max(1, longest // 2) :] for row in self._rows]
        lengths = [len(row) for row in self._rows]
        places = {row: place for place, row in enumerate(dict.fromkeys(map(tuple, self._rows)))}
        tokens = self._model.tensor(list(places), max(lengths))
        which = sent(torch.tensor([places[tuple(row)] for row in self._rows]), self._model.device)
        self._cache.lengths.copy_(torch.tensor(lengths))
        hidden = self._model.hidden(tokens, _Prompt(self._model, tokens, which, self._cache))
        self._logits = self._model.logits_of(hidden[which, self._cache.lengths - 1])


class _Room:
    """Where as many rows are read at a time, by one decoder after the other."""

    def __init__(self, model: GPT, rows: int) -> None:
        self.rows = rows
        self.model = model.ready_to_read()
        self.cache = _Cache(self.model, rows)
        self._turns: Turns | None = None

    def has_turns(self, settings: SampleSettings) -> bool:
        """Whether a turn is recorded that draws by these settings."""
        return self._turns is not None and self._turns.settings == settings

    def turns_with(self, settings: SampleSettings, logits: Tensor) -> Turns:
        """Turns that draw by these settings, recorded if the last ones did not; `logits` (B, V) are like theirs."""
        if self._turns is None or not self.has_turns(settings):
            self._turns = Turns(settings, logits)
            cache = self.cache
            self._turns.record(self.next_logits, cache.lengths, cache.changing(), self.model.compiles_decoding)
        return self._turns

    def next_logits(self, tokens: Tensor) -> Tensor:
        """Read a token (B) of each row; logits (B, V) of what follows."""
        read = tokens.unsqueeze(1)
        return self.model.logits_of(self.model.hidden(read, _NextToken(self.cache, read))[:, 0])


@torch.no_grad()
def _room_of(model: GPT, rows: int) -> _Room:
    """The spare one if it is as large, with what the model knows now; else a new one."""
    room: _Room | None = model.spare_room
    model.spare_room = None
    if room is None or room.rows != rows:
        return _Room(model, rows)
    for name, weight in model.ready_to_read().parameters.items():
        room.model.parameters[name].copy_(weight)
    room.cache.clear()
    return room


class _Cache:
    """What was read of each row, at addresses that never change."""

    def __init__(self, model: GPT, rows: int) -> None:
        settings = model.settings
        shape = rows, settings.kv_heads, model.context_length, model.head_size
        # tensors of their own: compiled code writes into those in place
        self.keys, self.values = (
            [torch.zeros(shape, dtype=model.dtype, device=model.device) for _ in range(settings.layers)] for _ in "kv"
        )
        self.lengths = torch.zeros(rows, dtype=torch.long, device=model.device)
        self.embedding = torch.zeros(rows, 1, settings.width, dtype=model.dtype, device=model.device)
        self.document_starts = torch.zeros_like(self.lengths) if settings.document_mask else None
        self.row = torch.arange(rows, device=model.device)

    def clear(self) -> None:
        """Nothing that is no number may stay: what is not seen still counts, zero times."""
        for tensor in (*self.keys, *self.values):
            tensor.zero_()

    def changing(self) -> list[Tensor]:
        """What reading a token changes, but for keys and values, which are only written again."""
        return [self.embedding, *([] if self.document_starts is None else [self.document_starts])]


class _Prompt(Rows):
    """Rows that are read from their beginning, and remembered."""

    def __init__(self, model: GPT, tokens: Tensor, which: Tensor, cache: _Cache) -> None:
        """`which` (B) of the rows of `tokens` each row of the cache is."""
        super().__init__(model.settings, tokens)
        self._which = which
        self._cache = cache
        if cache.document_starts is not None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            begins = (tokens[which] == BOS) & (positions < cache.lengths[:, None])
            cache.document_starts.copy_((begins * positions).amax(1))

    def previous(self, x: Tensor) -> Tensor:
        self._cache.embedding.copy_(x[self._which, self._cache.lengths - 1].unsqueeze(1))
        return super().previous(x)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
        self._cache.keys[layer][:, :, : k.shape[2]].copy_(k[self._which])
        self._cache.values[layer][:, :, : v.shape[2]].copy_(v[self._which])
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
        keys, values = cache.keys[layer], cache.values[layer]
        keys[cache.row, :, cache.lengths] = k[:, :, 0]
        values[cache.row, :, cache.lengths] = v[:, :, 0]
        ends = cache.lengths + 1
        begins = (ends - window).clamp_min(0) if window else torch.zeros_like(ends)
        if cache.document_starts is not None:
            begins = torch.maximum(begins, cache.document_starts)
        return attend_one(q, keys, values, begins, ends)
