"""The entropy floor: the least bits per byte that any model can reach on a text that a known grammar wrote."""

import math
from typing import NamedTuple

from engines.data.tokenizers import BOS, Tokenizer


class Floor(NamedTuple):
    """`bpb` of a text, and the standard error of that figure as an estimate of the grammar's own."""

    bpb: float
    error: float


class Information:
    """The exact information of documents: nats and bytes of each, as long as it is known of all of them."""

    def __init__(self) -> None:
        self._documents: list[tuple[float, int]] = []
        self._is_known = True

    def add(self, nats: float | None, size: int) -> None:
        """One more document of `size` bytes; of unknown information, if `nats` is None."""
        if nats is None:
            self._is_known = False
            self._documents.clear()
        elif self._is_known:
            self._documents.append((nats, size))

    def floor(self) -> Floor | None:
        """Ratio of sums over the documents, with the standard error of a ratio estimator; None of fewer than two."""
        count = len(self._documents)
        if count < 2:
            return None
        size = sum(size for _, size in self._documents)
        ratio = math.fsum(nats for nats, _ in self._documents) / size
        squares = math.fsum((nats - ratio * size) ** 2 for nats, size in self._documents)
        error = math.sqrt(squares * count / (count - 1)) / size
        return Floor(ratio / math.log(2), error / math.log(2))


def floor_of_stories(tokens: memoryview, tokenizer: Tokenizer) -> Floor | None:
    """The floor of stories that begin with the first token, of which the last may be cut anywhere; None of others."""
    from engines.data.story_beginnings import nats_of_beginning

    information = Information()
    for document in _documents(tokens):
        text = tokenizer.decode(document)
        try:
            information.add(nats_of_beginning(text), len(text.encode()))
        except ValueError:
            return None
    return information.floor()


def _documents(tokens: memoryview) -> list[list[int]]:
    """The tokens of each document that has any."""
    documents: list[list[int]] = [[]]
    for token in tokens.tolist():
        if token == BOS:
            documents.append([])
        else:
            documents[-1].append(token)
    return [document for document in documents if document]
