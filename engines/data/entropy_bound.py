"""The entropy bound: the lowest bits per byte that any model can reach on text from a known grammar."""

import math
from typing import NamedTuple

from engines.data.tokenizers import BOS, Tokenizer


class EntropyBound(NamedTuple):
    """The bits per byte of a text under its grammar, and their standard error as an estimate of the grammar's."""

    bpb: float
    error: float


class EntropyBoundEstimator:
    """Sums nats and bytes of documents, as long as the information of every document is known."""

    def __init__(self) -> None:
        self._documents: list[tuple[float, int]] = []
        self._is_known = True

    def add(self, nats: float | None, size: int) -> None:
        """Add a document of `size` bytes; `nats` is None if its information is unknown."""
        if nats is None:
            self._is_known = False
            self._documents.clear()
        elif self._is_known:
            self._documents.append((nats, size))

    def estimate(self) -> EntropyBound | None:
        """Return the ratio of the sums, and a ratio estimator's standard error; None for fewer than two documents."""
        count = len(self._documents)
        if count < 2:
            return None
        size = sum(size for _, size in self._documents)
        ratio = math.fsum(nats for nats, _ in self._documents) / size
        squares = math.fsum((nats - ratio * size) ** 2 for nats, size in self._documents)
        error = math.sqrt(squares * count / (count - 1)) / size
        return EntropyBound(ratio / math.log(2), error / math.log(2))


def stories_entropy_bound(tokens: memoryview, tokenizer: Tokenizer) -> EntropyBound | None:
    """Return the bound of stories that begin at the first token; the last may be cut anywhere. None for other text."""
    from engines.data.stories.prefixes import prefix_nats

    estimator = EntropyBoundEstimator()
    for document in _split_documents(tokens):
        text = tokenizer.decode(document)
        try:
            estimator.add(prefix_nats(text), len(text.encode()))
        except ValueError:
            return None
    return estimator.estimate()


def _split_documents(tokens: memoryview) -> list[list[int]]:
    """Return the tokens of each document that is not empty."""
    documents: list[list[int]] = [[]]
    for token in tokens.tolist():
        if token == BOS:
            documents.append([])
        else:
            documents[-1].append(token)
    return [document for document in documents if document]
