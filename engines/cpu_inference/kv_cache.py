"""Keys, values and other state of the tokens that rows of equal length have read."""

import numpy as np

from engines.cpu_inference.layers import Floats, Ints


class NumpyKVCache:
    """The KV cache of B rows, all of which have read `length` tokens."""

    def __init__(self, batch_size: int, layers: int, kv_heads: int, capacity: int, head_size: int, dtype: str) -> None:
        shape = layers, batch_size, kv_heads, capacity, head_size
        self.length = 0
        self._keys, self._values = np.empty(shape, dtype), np.empty(shape, dtype)
        self.embedding = np.zeros((batch_size, 1, 0), dtype)  # of the last token, in models that need it
        self._documents = np.zeros((batch_size, capacity), np.int64)

    def append(self, layer: int, keys: Floats, values: Floats) -> tuple[Floats, Floats]:
        """Store a layer's keys and values (B, T, kv_heads, D) of the next T tokens.

        Returns those of all tokens (B, kv_heads, positions, D). `length` changes when all layers are done.
        """
        end = self.length + keys.shape[1]
        self._keys[layer, :, :, self.length : end] = keys.swapaxes(1, 2)
        self._values[layer, :, :, self.length : end] = values.swapaxes(1, 2)
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def append_documents(self, starts: Ints) -> Ints:
        """Return the number of each position's document (B, positions), given which of the next tokens begin one."""
        end = self.length + starts.shape[1]
        before = self._documents[:, self.length - 1 : self.length] if self.length else 0
        self._documents[:, self.length : end] = before + starts.cumsum(1)
        return self._documents[:, :end]

    def select(self, rows: list[int]) -> None:
        """Replace the rows by copies of those with these indices."""
        self._keys, self._values = self._keys[:, rows], self._values[:, rows]
        self.embedding, self._documents = self.embedding[rows], self._documents[rows]
