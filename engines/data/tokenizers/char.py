"""The character tokenizer: one token for each character of an alphabet."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from engines.data.tokenizers.base import BOS, StreamDecoder, TypeCode, smallest_typecode
from engines.errors import UserError

_MAX_LISTED_CHARACTERS = 20  # in an error
_MAX_LISTED_ALPHABET = 200  # characters of the alphabet in an error
_UNKNOWN = 255  # no ASCII alphabet has so many characters


class CharTokenizer:
    """One token for each character of an alphabet, in code point order from 1."""

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self.is_splittable = True
        self._ids = {character: index for index, character in enumerate(alphabet, 1)}
        self.vocab_size = len(alphabet) + 1
        self.typecode: TypeCode = smallest_typecode(self.vocab_size)
        self._ascii_ids = self._ascii_table() if alphabet.isascii() else None
        self.token_bytes: Sequence[int] = [0, *(len(character.encode()) for character in alphabet)]

    def encode(self, text: str) -> "array[int]":
        """Encode a text, without BOS. Raises UserError with the characters that are not in the alphabet."""
        if self._ascii_ids and text.isascii():  # translating bytes is fifty times faster
            ids = text.encode("ascii").translate(self._ascii_ids)
            if _UNKNOWN not in ids:
                return array("B", ids)
        try:
            return array(self.typecode, map(self._ids.__getitem__, text))
        except KeyError as error:
            raise self._unknown_characters(text, text.index(error.args[0])) from None

    def _unknown_characters(self, text: str, first: int) -> UserError:
        unknown = list(dict.fromkeys(character for character in text if character not in self._ids))
        listed = _format_characters(unknown)
        subject = f"character {listed} at" if len(unknown) == 1 else f"characters {listed}, from"
        verb = "is" if len(unknown) == 1 else "are"
        more = "…" if len(self.alphabet) > _MAX_LISTED_ALPHABET else ""
        alphabet = repr(self.alphabet[:_MAX_LISTED_ALPHABET]) + more
        return UserError(f"{subject} position {first} {verb} not in the tokenizer's vocabulary: {alphabet}.")

    def _ascii_table(self) -> bytes:
        return bytes(self._ids.get(chr(code), _UNKNOWN) for code in range(256))

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens; BOS decodes to nothing."""
        return "".join(self.decode_token(token) for token in tokens)

    def decode_token(self, token: int) -> str:
        """Return the character of a token; an empty string for BOS."""
        return "" if token == BOS else self.alphabet[token - 1]

    def stream_decoder(self) -> StreamDecoder:
        """Return a new decoder for one text."""
        return _CharStreamDecoder(self)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that describes the tokenizer."""
        return {"kind": "char", "alphabet": self.alphabet}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "CharTokenizer":
        """Build the tokenizer from its description. Raises a built-in exception if it is damaged."""
        alphabet = content["alphabet"]
        if not isinstance(alphabet, str) or len(set(alphabet)) != len(alphabet):
            raise ValueError("an alphabet must be a string without repeated characters")
        return cls(alphabet)


class _CharStreamDecoder:
    def __init__(self, tokenizer: CharTokenizer) -> None:
        self.decode = tokenizer.decode_token

    def flush(self) -> str:
        return ""


def _format_characters(characters: Sequence[str]) -> str:
    hidden = len(characters) - _MAX_LISTED_CHARACTERS
    more = f" and {hidden:,} more" if hidden > 0 else ""
    return ", ".join(map(repr, characters[:_MAX_LISTED_CHARACTERS])) + more
