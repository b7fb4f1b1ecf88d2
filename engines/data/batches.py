"""The order of training data: a pure function of (seed, position), in no memory and with random access."""

from engines.interfaces import Batch
from engines.random_stream import Permutation


class Batches:
    """Rows of `context_length` + 1 tokens over a token stream, shuffled anew each epoch.

    Row r begins at token r * context_length, so that every token is predicted once an epoch; the last row
    goes on at the stream's beginning, which is a BOS like the one after any document. `position` counts
    rows since the start of training.
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
        """The rows at `position` and after."""
        starts = [self._start(place) for place in range(position, position + self._batch_size)]
        return Batch(self._tokens, starts, self._context_length + 1)

    def _start(self, position: int) -> int:
        epoch, place = divmod(position, self.rows)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = Permutation(self.rows, self._seed, f"epoch {epoch}")
        return self._order(place) * self._context_length
