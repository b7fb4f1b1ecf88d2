"""The character tokenizer: one token for each character of an alphabet."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from engines.data.tokenizers.base import BOS, TextStream, TypeCode, typecode_of
from engines.errors import UserError

_MOST_UNKNOWN = 20  # characters in an error
_LONGEST_ALPHABET = 200  # characters of it in an error
_UNKNOWN = 255  # no ASCII alphabet has so many characters


class CharTokenizer:
    """One token for each character of an alphabet, in code point order from 1."""

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self.cuttable = True
        self._ids = {character: index for index, character in enumerate(alphabet, 1)}
        self.vocab_size = len(alphabet) + 1
        self.typecode: TypeCode = typecode_of(self.vocab_size)
        self._ascii_ids = self._ascii_table() if alphabet.isascii() else None
        self.token_bytes: Sequence[int] = [0, *(len(character.encode()) for character in alphabet)]

    def encode(self, text: str) -> "array[int]":
        """Encode a text. Raises UserError with the characters that the alphabet lacks and the position of the first."""
        if self._ascii_ids and text.isascii():  # a table of bytes: fifty times faster
            found = text.encode("ascii").translate(self._ascii_ids)
            if _UNKNOWN not in found:
                return array("B", found)
        try:
            return array(self.typecode, map(self._ids.__getitem__, text))
        except KeyError as error:
            raise self._unknown(text, text.index(error.args[0])) from None

    def _unknown(self, text: str, first: int) -> UserError:
        unknown = list(dict.fromkeys(character for character in text if character not in self._ids))
        listed = _listed(unknown, _MOST_UNKNOWN)
        which = f"character {listed} at" if len(unknown) == 1 else f"characters {listed}, from"
        are = "is" if len(unknown) == 1 else "are"
        alphabet = repr(self.alphabet[:_LONGEST_ALPHABET]) + ("…" if len(self.alphabet) > _LONGEST_ALPHABET else "")
        return UserError(f"{which} position {first} {are} not in the model's alphabet, which is {alphabet}.")

    def _ascii_table(self) -> bytes:
        return bytes(self._ids.get(chr(code), _UNKNOWN) for code in range(256))

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join(self.token_text(token) for token in tokens)

    def token_text(self, token: int) -> str:
        return "" if token == BOS else self.alphabet[token - 1]

    def text_stream(self) -> TextStream:
        return _Characters(self)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "char", "alphabet": self.alphabet}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "CharTokenizer":
        alphabet = content["alphabet"]
        if not isinstance(alphabet, str) or len(set(alphabet)) != len(alphabet):
            raise ValueError("an alphabet is a text without repetitions")
        return cls(alphabet)


class _Characters:
    def __init__(self, tokenizer: CharTokenizer) -> None:
        self.add = tokenizer.token_text

    def end(self) -> str:
        return ""


def _listed(characters: Sequence[str], most: int) -> str:
    more = f" and {len(characters) - most:,} more" if len(characters) > most else ""
    return ", ".join(map(repr, characters[:most])) + more
