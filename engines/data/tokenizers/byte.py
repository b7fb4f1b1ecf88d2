"""The byte tokenizer, and what it shares with the bpe tokenizer: tokens that stand for some bytes each."""

import codecs
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from engines.data.tokenizers.base import TextStream, TypeCode, typecode_of, utf8

BYTES = tuple(bytes([value]) for value in range(256))  # the tokens from 1 in byte and bpe tokenizers

_NEXT_BYTE = bytes([*range(1, 256), 0])  # UTF-8 has no byte 255
_UTF_16 = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"


class BytesTokenizer:
    """Tokens that stand for some bytes each: what byte and bpe tokenizers share."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """`pieces`: the bytes of the tokens from 1."""
        self._pieces = [b"", *pieces]
        self.cuttable = max(map(len, pieces)) == 1
        self.vocab_size = len(self._pieces)
        self.typecode: TypeCode = typecode_of(self.vocab_size)
        self.token_bytes: Sequence[int] = list(map(len, self._pieces))

    def decode(self, tokens: Iterable[int]) -> str:
        return b"".join(map(self._pieces.__getitem__, tokens)).decode(errors="replace")

    def token_text(self, token: int) -> str:
        return self._pieces[token].decode(errors="replace")

    def text_stream(self) -> TextStream:
        return _Bytes(self._pieces)


class ByteTokenizer(BytesTokenizer):
    """One token for each byte of UTF-8, from 1."""

    def __init__(self) -> None:
        super().__init__(BYTES)

    def encode(self, text: str) -> "array[int]":
        ids = utf8(text).translate(_NEXT_BYTE)
        return array("H", ids.decode("latin-1").encode(_UTF_16))  # each byte becomes two: no loop is as fast

    def to_json(self) -> dict[str, Any]:
        return {"kind": "byte"}


class _Bytes:
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        return self._decoder.decode(self._pieces[token])

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)
