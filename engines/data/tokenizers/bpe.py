"""Byte pair encoding: tokens are pieces of words, so that a token holds about four bytes of English.

tiktoken encodes, 15 MB/s on a core, ten times as fast as the package tokenizers; `bpe_training.py` finds the pieces.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import tiktoken

from engines.data.tokenizers.base import utf8
from engines.data.tokenizers.byte import BYTES, BytesTokenizer

# What is encoded by itself: GPT-4's rule (cl100k_base in tiktoken), but with at most two digits together, which
# karpathy/nanochat found better for vocabularies as small as ours.
SPLIT_PATTERN = "|".join(
    (
        r"'(?i:[sdmt]|ll|ve|re)",  # the ends of it's and they'll
        r"[^\r\n\p{L}\p{N}]?+\p{L}+",  # a word, with the space or sign before it
        r"\p{N}{1,2}",
        r" ?[^\s\p{L}\p{N}]++[\r\n]*",  # signs, with the space before and the line breaks after them
        r"\s*[\r\n]",  # space up to the last line break
        r"\s+(?!\S)",  # space, but for the last one, which belongs to the word
        r"\s+",
    )
)

PORTION = 1 << 16  # characters that are encoded at a time: the pattern's engine gives up on a million spaces in a row
_SEARCH = 1 << 12  # characters before a portion's end in which it may end
# Places that no piece of the pattern reaches across: before a space or a line's first word.
_PLACES = re.compile(r"(?<=\S)(?= )|(?<=\n)(?=\S)")


class BPETokenizer(BytesTokenizer):
    """From 1 come the bytes, as in ByteTokenizer, then `merged`: the bytes of each merge, in the order learned."""

    def __init__(self, merged: Sequence[bytes], pattern: str = SPLIT_PATTERN) -> None:
        pieces = (*BYTES, *merged)
        super().__init__(pieces)
        self._pattern = pattern
        ids = {piece: token for token, piece in enumerate(pieces, 1)}
        self._encoding = tiktoken.Encoding("bpe", pat_str=pattern, mergeable_ranks=ids, special_tokens={})

    def encode(self, text: str) -> "array[int]":
        if not text.isascii():
            utf8(text)  # else tiktoken would put another character there
        tokens = array(self.typecode)
        for portion in portions(text):
            tokens.extend(self._encoding.encode_ordinary(portion))
        return tokens

    def to_json(self) -> dict[str, Any]:
        merged = [piece.decode("latin-1") for piece in self._pieces[len(BYTES) + 1 :]]  # a character for each byte
        return {"kind": "bpe", "pattern": self._pattern, "merged": merged}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "BPETokenizer":
        merged = [piece.encode("latin-1") for piece in content["merged"]]
        if len({*BYTES, *merged}) != len(BYTES) + len(merged):
            raise ValueError("a piece is there twice")
        return cls(merged, content["pattern"])


def portions(text: str) -> Iterator[str]:
    """The text, cut where that changes no token, or after PORTION characters where it has no such place; the last
    portion may be empty."""
    start = 0
    while len(text) - start > PORTION:
        limit = start + PORTION
        end = max((place.start() for place in _PLACES.finditer(text, limit - _SEARCH, limit)), default=limit)
        yield text[start:end]
        start = end
    yield text[start:]
