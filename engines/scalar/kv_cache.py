"""The KV cache of a scalar GPT: generation computes every token once.

Its sums have the order of `autograd.attention`, so the numbers are the same to the last bit.
"""

import math

from engines.scalar.kernels import Matrix, Vector, matmul_transposed, softmax


class ScalarKVCache:
    """Keys and values of the tokens that one text consists of so far, by layer and head."""

    def __init__(self, layers: int, heads: int, width: int) -> None:
        size = width // heads
        self.tokens: list[int] = []
        self._columns = [slice(head * size, (head + 1) * size) for head in range(heads)]
        self._keys: list[list[Matrix]] = [[[] for _ in range(heads)] for _ in range(layers)]  # (positions, D) each
        self._values: list[list[Matrix]] = [[[[] for _ in range(size)] for _ in range(heads)] for _ in range(layers)]
        self._scale = 1.0 / math.sqrt(size)  # values are (D, positions) each

    def append(self, layer: int, key: Vector, value: Vector) -> None:
        """Store the key and the value (C) of a layer's next position."""
        for head, columns in enumerate(self._columns):
            self._keys[layer][head].append(key[columns])
            for channel, number in zip(self._values[layer][head], value[columns], strict=True):
                channel.append(number)

    def attend(self, layer: int, query: Vector) -> Vector:
        """Return the outputs of a layer's heads (C) for the query of its last position."""
        output: Vector = []
        for columns, keys, values in zip(self._columns, self._keys[layer], self._values[layer], strict=True):
            (scores,) = matmul_transposed([query[columns]], keys)
            weights = softmax([score * self._scale for score in scores])
            output += matmul_transposed([weights], values)[0]
        return output
