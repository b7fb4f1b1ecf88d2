"""Byte pair encoding: a token holds about four bytes of English.

tiktoken encodes 15 MB/s per core, ten times as fast as the package tokenizers; `bpe_training.py` finds the merges.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import tiktoken

from engines.data.tokenizers.base import encode_utf8
from engines.data.tokenizers.byte import BYTES, ByteLevelTokenizer

# Pieces of text that are encoded separately: GPT-4's rule (cl100k_base in tiktoken), but with at most two digits
# together, which karpathy/nanochat found better for vocabularies as small as ours.
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

MAX_CHUNK_CHARACTERS = 1 << 16  # encoded at a time: the regex engine gives up on a million consecutive spaces
_SEARCH = 1 << 12  # characters before the end of a chunk in which it may be cut
# Boundaries that no match of the pattern crosses: before a space, or before a line's first word.
_BOUNDARIES = re.compile(r"(?<=\S)(?= )|(?<=\n)(?=\S)")


class BPETokenizer(ByteLevelTokenizer):
    """Tokens from 1 are the bytes, as in ByteTokenizer, then `merged`: the bytes of each merge, in training order."""

    def __init__(self, merged: Sequence[bytes], pattern: str = SPLIT_PATTERN) -> None:
        vocabulary = (*BYTES, *merged)
        super().__init__(vocabulary)
        self._pattern = pattern
        ids = {token_bytes: token for token, token_bytes in enumerate(vocabulary, 1)}
        self._encoding = tiktoken.Encoding("bpe", pat_str=pattern, mergeable_ranks=ids, special_tokens={})

    def encode(self, text: str) -> "array[int]":
        """Encode a text, without BOS. Raises UserError if it has no UTF-8 encoding."""
        if not text.isascii():
            encode_utf8(text)  # tiktoken would replace the character instead of failing
        tokens = array(self.typecode)
        for chunk in split_into_chunks(text):
            tokens.extend(self._encoding.encode_ordinary(chunk))
        return tokens

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that describes the tokenizer."""
        merged = [token_bytes.decode("latin-1") for token_bytes in self._vocabulary[len(BYTES) + 1 :]]
        return {"kind": "bpe", "pattern": self._pattern, "merged": merged}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "BPETokenizer":
        """Build the tokenizer from its description. Raises a built-in exception if it is damaged."""
        merged = [token_bytes.encode("latin-1") for token_bytes in content["merged"]]
        if len({*BYTES, *merged}) != len(BYTES) + len(merged):
            raise ValueError("two tokens have the same bytes")
        return cls(merged, content["pattern"])


def split_into_chunks(text: str) -> Iterator[str]:
    """Yield the text in chunks, cut at boundaries that change no token, or after MAX_CHUNK_CHARACTERS if there are
    none. The last chunk may be empty."""
    start = 0
    while len(text) - start > MAX_CHUNK_CHARACTERS:
        limit = start + MAX_CHUNK_CHARACTERS
        boundaries = _BOUNDARIES.finditer(text, limit - _SEARCH, limit)
        end = max((boundary.start() for boundary in boundaries), default=limit)
        yield text[start:end]
        start = end
    yield text[start:]
