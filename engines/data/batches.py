"""The order of training data: a pure function of seed and position, with random access and without memory."""

from engines.interfaces import Batch
from engines.random_stream import Permutation


class Batches:
    """Rows of `context_length` + 1 tokens from a token stream, shuffled anew each epoch.

    Row r begins at token r * context_length, so every token is predicted once per epoch. The last row continues at the
    beginning of the stream, which is a BOS like the one after any document. Positions count rows since the start of
    training.
    """

    def __init__(self, tokens: memoryview, context_length: int, batch_size: int, seed: int) -> None:
        self._tokens = tokens
        self._context_length = context_length
        self._batch_size = batch_size
        self._seed = seed
        self.rows = -(-len(tokens) // context_length)
        self._epoch = -1
        self._order = Permutation(self.rows, seed)

    def batch(self, position: int) -> Batch:
        """Return the batch whose first row is at `position`."""
        starts = [self._start_of_row(row) for row in range(position, position + self._batch_size)]
        return Batch(self._tokens, starts, self._context_length + 1)

    def _start_of_row(self, position: int) -> int:
        epoch, index = divmod(position, self.rows)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = Permutation(self.rows, self._seed, f"epoch {epoch}")
        return self._order(index) * self._context_length
