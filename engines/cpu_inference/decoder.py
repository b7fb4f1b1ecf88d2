"""Continues rows of text with a KV cache.

A row that exceeds the context length drops its older tokens and is read again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from engines.cpu_inference.kv_cache import NumpyKVCache
from engines.cpu_inference.layers import Floats, Ints
from engines.cpu_inference.sampling import sample_token
from engines.interfaces import SampledToken, TokenIds
from engines.settings.sample import SampleSettings


class CacheReader(Protocol):
    """A model that reads tokens with a cache; see `model.NumpyModel`."""

    context_length: int
    kept_length: int

    def new_cache(self, batch_size: int, capacity: int) -> NumpyKVCache: ...
    def read(self, tokens: Ints, cache: NumpyKVCache, only_last: bool) -> Floats: ...


class NumpyDecoder:
    """Rows of text that one model continues. Rows of equal length are computed together."""

    def __init__(self, model: CacheReader, prompts: Sequence[TokenIds]) -> None:
        self._size = len(prompts)
        rows_by_length: dict[int, list[int]] = {}
        for row, prompt in enumerate(prompts):
            rows_by_length.setdefault(len(prompt), []).append(row)
        self._groups = [
            (rows, RowGroup(model, [list(prompts[row]) for row in rows])) for rows in rows_by_length.values()
        ]

    def stream(self, settings: SampleSettings, uniforms: Iterable[Sequence[float]]) -> Iterator[list[SampledToken]]:
        """Yield the next token of each row, once for each of `uniforms`: a number in [0, 1) per row."""
        sampled: list[SampledToken] = []
        for numbers in uniforms:
            if sampled:
                self.append_tokens([token.id for token in sampled])
            sampled = self.sample_tokens(settings, numbers)
            yield sampled

    def sample_tokens(self, settings: SampleSettings, uniforms: Sequence[float]) -> list[SampledToken]:
        """Return the next token of each row, sampled with a number in [0, 1) per row. It is not appended."""
        sampled = {
            row: sample_token(logits, settings, uniforms[row])
            for rows, group in self._groups
            for row, logits in zip(rows, group.logits, strict=True)
        }
        return [sampled[row] for row in range(self._size)]

    def append_tokens(self, tokens: Sequence[int]) -> None:
        """Append one token to each row."""
        for rows, group in self._groups:
            group.append([tokens[row] for row in rows])


class RowGroup:
    """Rows of equal length. `logits` (B, V) are those of the next token of each."""

    logits: Floats

    def __init__(self, model: CacheReader, rows: list[list[int]]) -> None:
        self._model = model
        self._rows = rows
        self._read_rows()

    def append(self, tokens: Sequence[int]) -> None:
        """Append one token to each row."""
        for row, token in zip(self._rows, tokens, strict=True):
            row.append(token)
        if len(self._rows[0]) > self._model.context_length:
            self._read_rows()
        else:
            self._read(np.array(tokens)[:, None])

    def _read_rows(self) -> None:
        """Read every row from its first token, or the end of one that is too long. Equal rows are read once."""
        if len(self._rows[0]) > self._model.context_length:
            self._rows = [row[-self._model.kept_length :] for row in self._rows]
        index_of = {row: index for index, row in enumerate(dict.fromkeys(map(tuple, self._rows)))}
        self._cache = self._model.new_cache(len(index_of), self._model.context_length)
        self._read(np.array(list(index_of)))
        if len(index_of) < len(self._rows):
            indices = [index_of[tuple(row)] for row in self._rows]
            self._cache.select(indices)
            self.logits = self.logits[indices]

    def _read(self, tokens: Ints) -> None:
        with np.errstate(all="ignore"):  # a model that has diverged computes infinities
            self.logits = self._model.read(tokens, self._cache, only_last=True)[:, -1]
