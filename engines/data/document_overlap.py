"""Count validation documents that are also training documents, by a hash of each document.

Carriage returns are left out of the hash: a copy with other line ends is the same document.
"""

from hashlib import blake2b

from engines.data.splitting import SplitChunk

_HASH_BYTES = 8  # 10 million training and 1 million validation documents collide in one of 2 million corpora


class OverlapCounter:
    """Counts shared documents from the chunks of both sides, in any order; holds 8 bytes per document."""

    def __init__(self) -> None:
        self._hashes = {False: bytearray(), True: bytearray()}  # by `is_val`
        self._current: blake2b | None = None
        self._is_val = False

    def add(self, chunk: SplitChunk) -> None:
        """Add the next chunk of a document."""
        if self._current is not None and not chunk.starts_document:
            self._current.update(_normalize(chunk))
            return
        self._finish_document()
        self._current = blake2b(_normalize(chunk), digest_size=_HASH_BYTES)
        self._is_val = chunk.is_val

    def count(self) -> int:
        """Return the number of validation documents that occur in the training text."""
        self._finish_document()
        train, val = (memoryview(self._hashes[side]).cast("Q") for side in (False, True))
        known = set(val)
        shared = {document for document in train if document in known}
        return sum(document in shared for document in val)

    def _finish_document(self) -> None:
        if self._current is not None:
            self._hashes[self._is_val] += self._current.digest()
        self._current = None


def _normalize(chunk: SplitChunk) -> bytes:
    return chunk.text.replace("\r", "").encode()
