"""Per-token losses that the device may still be computing."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from engines.tensor.async_copy import AsyncCopy


class Scores:
    """The per-token losses of rows, in nats; to be iterated once, which waits for them."""

    def __init__(self, chunks: Sequence["ChunkScores"]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[list[float]]:
        for chunk in self._chunks:
            yield from chunk.rows()


class ChunkScores:
    """The per-token losses of the rows of one chunk."""

    def __init__(self, losses: Tensor, lengths: list[int]) -> None:
        """`losses` (B, T); of row b the first lengths[b] count."""
        self._lengths = lengths
        self._copy = AsyncCopy(losses)

    def rows(self) -> Iterator[list[float]]:
        """Yield each row's losses; waits for them."""
        for losses, length in zip(self._copy.wait().tolist(), self._lengths, strict=True):
            yield losses[:length]
