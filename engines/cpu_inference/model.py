"""The base class of the models: scores and decoding in terms of `read`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from engines.cpu_inference.decoder import NumpyDecoder
from engines.cpu_inference.kv_cache import NumpyKVCache
from engines.cpu_inference.layers import Floats, Ints
from engines.interfaces import Decoder, TokenIds


class NumpyModel(ABC):
    """A language model of numpy arrays. `kept_length`: tokens that a row keeps when it exceeds the context length."""

    compiles_decoding = False

    def __init__(self, weights: Mapping[str, Floats], context_length: int, kept_length: int) -> None:
        self.parameter_count = sum(weight.size for weight in weights.values())
        self.context_length, self.kept_length = context_length, kept_length

    @abstractmethod
    def new_cache(self, batch_size: int, capacity: int) -> NumpyKVCache:
        """Return the cache of rows that have read nothing, with room for `capacity` tokens each."""

    @abstractmethod
    def read(self, tokens: Ints, cache: NumpyKVCache, only_last: bool) -> Floats:
        """Read the next tokens (B, T) of all rows.

        Returns the logits (B, T, V) of the token after each, or only those after the last (B, 1, V).
        """

    def logits(self, context: TokenIds) -> list[float]:
        """Return the logits (V) of the token after `context`, of which the last `context_length` tokens count."""
        logits: list[float] = self._read_row(context[-self.context_length :], only_last=True)[0].tolist()
        return logits

    def score(self, rows: Sequence[TokenIds]) -> Iterator[list[float]]:
        """Yield the loss of every target of every row, in nats."""
        for row in rows:
            logits = self._read_row(row[:-1], only_last=False).astype(np.float64)  # (T, V)
            highest = logits.max(-1)
            log_totals = highest + np.log(np.exp(logits - highest[:, None]).sum(-1))
            yield (log_totals - logits[np.arange(len(logits)), row[1:]]).tolist()

    def decoder(self, prompts: Sequence[TokenIds]) -> Decoder:
        """Return a decoder that continues the prompts."""
        return NumpyDecoder(self, prompts)

    def _read_row(self, tokens: TokenIds, only_last: bool) -> Floats:
        with np.errstate(all="ignore"):
            rows = self.read(np.array([tokens]), self.new_cache(1, len(tokens)), only_last)
        logits: Floats = rows[0]
        return logits
