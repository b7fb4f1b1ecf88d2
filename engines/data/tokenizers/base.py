"""The interface of all tokenizers."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from engines.errors import UserError

BOS = 0  # the token before every document, in all vocabularies
TypeCode = Literal["B", "H", "I"]  # of arrays of token ids


class StreamDecoder(Protocol):
    """Decodes tokens one by one."""

    def decode(self, token: int) -> str:
        """Return the characters that this token completes; the bytes of an incomplete character are held back."""

    def flush(self) -> str:
        """Return what was held back, when no token follows."""


class Tokenizer(Protocol):
    """Converts text to token ids and back."""

    vocab_size: int
    typecode: TypeCode  # the smallest that holds every token id
    token_bytes: Sequence[int]  # UTF-8 bytes of each token; 0 for BOS
    is_splittable: bool  # whether text may be cut anywhere without changing its tokens

    def encode(self, text: str) -> "array[int]":
        """Return token ids, without BOS. Raises UserError with the characters that have none."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""

    def decode_token(self, token: int) -> str:
        """Return the text of one token by itself."""

    def stream_decoder(self) -> StreamDecoder:
        """Return a new decoder for one text."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object from which `engines.data.tokenizers.from_json` builds the tokenizer again."""


def smallest_typecode(vocab_size: int) -> TypeCode:
    """Return the typecode of the narrowest array that holds every token id."""
    return "B" if vocab_size <= 1 << 8 else "H" if vocab_size <= 1 << 16 else "I"


def encode_utf8(text: str) -> bytes:
    """Return the UTF-8 bytes of a text. Raises UserError for surrogates, which a command line may contain."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise UserError(
            f"the text is not valid UTF-8: {character!r} at position {error.start}. Give UTF-8 text."
        ) from None
