"""Counts the validation documents that are also training documents, by a hash of each document without its carriage
returns: a copy with other line ends is the same document."""

from hashlib import blake2b

from engines.data.splitting import Part

_HASH_BYTES = 8  # 10 million training and 1 million validation documents collide in one of 2 million corpora


class DocumentOverlap:
    """Counter that receives the parts of both sides in any order. Holds 8 bytes per document and a validation set."""

    def __init__(self) -> None:
        self._hashes = {False: bytearray(), True: bytearray()}  # by `is_val`
        self._current: blake2b | None = None
        self._is_val = False

    def add(self, part: Part) -> None:
        if self._current is not None and not part.starts_document:
            self._current.update(_content(part))
            return
        self._finish()
        self._current = blake2b(_content(part), digest_size=_HASH_BYTES)
        self._is_val = part.is_val

    def count(self) -> int:
        """Return the number of validation documents that occur in the training text."""
        self._finish()
        train, val = (memoryview(self._hashes[side]).cast("Q") for side in (False, True))
        known = set(val)
        shared = {one for one in train if one in known}
        return sum(one in shared for one in val)

    def _finish(self) -> None:
        if self._current is not None:
            self._hashes[self._is_val] += self._current.digest()
        self._current = None


def _content(part: Part) -> bytes:
    return part.text.replace("\r", "").encode()
