"""The interface of every tokenizer. BOS is 0 in all of them and stands before every document."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from engines.errors import UserError

BOS = 0
TypeCode = Literal["B", "H", "I"]  # of arrays that hold token ids: the smallest that fits the vocabulary


class TextStream(Protocol):
    """The text of tokens that come one by one."""

    def add(self, token: int) -> str:
        """What this token makes certain: half a character waits for its other half."""

    def end(self) -> str:
        """What is left over when no token follows."""


class Tokenizer(Protocol):
    vocab_size: int
    typecode: TypeCode
    token_bytes: Sequence[int]  # UTF-8 bytes of each token; BOS has none
    cuttable: bool  # whether text gives the same tokens wherever it is cut in two

    def encode(self, text: str) -> "array[int]":
        """Token ids, without BOS. UserError names a character that has none."""

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; bytes that are no UTF-8 become U+FFFD."""

    def token_text(self, token: int) -> str:
        """The text of one token by itself."""

    def text_stream(self) -> TextStream: ...

    def to_json(self) -> dict[str, Any]: ...


def typecode_of(vocab_size: int) -> TypeCode:
    return "B" if vocab_size <= 1 << 8 else "H" if vocab_size <= 1 << 16 else "I"


def utf8(text: str) -> bytes:
    """UserError where the text is not made of whole characters: a command line can hold any bytes."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{text[error.start]!r} at position {error.start} is no character; give UTF-8 text.") from None
