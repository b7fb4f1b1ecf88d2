"""The byte tokenizer, and what it shares with the bpe tokenizer: every token stands for some bytes."""

import codecs
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from engines.data.tokenizers.base import StreamDecoder, TypeCode, encode_utf8, smallest_typecode

BYTES = tuple(bytes([value]) for value in range(256))  # the tokens from 1

_NEXT_BYTE = bytes([*range(1, 256), 0])  # UTF-8 has no byte 255
_UTF_16 = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"


class ByteLevelTokenizer:
    """Decoding of tokens that stand for some bytes each."""

    def __init__(self, vocabulary: Sequence[bytes]) -> None:
        """`vocabulary` holds the bytes of each token, from token 1."""
        self._vocabulary = [b"", *vocabulary]
        self.is_splittable = max(map(len, vocabulary)) == 1
        self.vocab_size = len(self._vocabulary)
        self.typecode: TypeCode = smallest_typecode(self.vocab_size)
        self.token_bytes: Sequence[int] = list(map(len, self._vocabulary))

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(map(self._vocabulary.__getitem__, tokens)).decode(errors="replace")

    def decode_token(self, token: int) -> str:
        """Return the text of one token by itself."""
        return self._vocabulary[token].decode(errors="replace")

    def stream_decoder(self) -> StreamDecoder:
        """Return a new decoder for one text."""
        return _ByteStreamDecoder(self._vocabulary)


class ByteTokenizer(ByteLevelTokenizer):
    """One token for each byte of UTF-8, from 1."""

    def __init__(self) -> None:
        super().__init__(BYTES)

    def encode(self, text: str) -> "array[int]":
        """Encode a text, without BOS. Raises UserError if it has no UTF-8 encoding."""
        ids = encode_utf8(text).translate(_NEXT_BYTE)
        return array("H", ids.decode("latin-1").encode(_UTF_16))  # widens every byte, faster than any loop

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that describes the tokenizer."""
        return {"kind": "byte"}


class _ByteStreamDecoder:
    def __init__(self, vocabulary: Sequence[bytes]) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, token: int) -> str:
        return self._decoder.decode(self._vocabulary[token])

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)
