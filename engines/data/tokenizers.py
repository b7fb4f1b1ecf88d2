"""Tokenizers: between text and token ids. BOS is 0 in all of them and stands before every document."""

from array import array
from collections.abc import Iterable
from typing import Any, Literal

from engines.errors import LabError

BOS = 0
TypeCode = Literal["B", "H", "I"]  # of arrays that hold token ids: the smallest that fits the vocabulary
_UNKNOWN = 255  # no ASCII alphabet has so many characters


class CharTokenizer:
    """One token for each character of an alphabet, in code point order from 1."""

    def __init__(self, alphabet: str) -> None:
        self.alphabet = alphabet
        self._ids = {character: index for index, character in enumerate(alphabet, 1)}
        self.vocab_size = len(alphabet) + 1
        self.typecode: TypeCode = "B" if self.vocab_size <= 1 << 8 else "H" if self.vocab_size <= 1 << 16 else "I"
        self._ascii_ids = self._ascii_table() if alphabet.isascii() else None
        self.token_bytes = [0, *(len(character.encode()) for character in alphabet)]

    def encode(self, text: str) -> "array[int]":
        """Token ids, without BOS. LabError names the first character that the alphabet lacks and its position."""
        if self._ascii_ids and text.isascii():  # a table of bytes: fifty times faster
            found = text.encode("ascii").translate(self._ascii_ids)
            if _UNKNOWN not in found:
                return array("B", found)
        try:
            return array(self.typecode, map(self._ids.__getitem__, text))
        except KeyError as error:
            character = error.args[0]
            raise LabError(
                f"character {character!r} at position {text.index(character)} is not in the model's alphabet; "
                f"it knows {self.alphabet!r}."
            ) from None

    def _ascii_table(self) -> bytes:
        return bytes(self._ids.get(chr(code), _UNKNOWN) for code in range(256))

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens; BOS has none."""
        return "".join(self.token_text(token) for token in tokens)

    def token_text(self, token: int) -> str:
        return "" if token == BOS else self.alphabet[token - 1]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "char", "alphabet": self.alphabet}


def from_json(content: dict[str, Any]) -> CharTokenizer:
    """The tokenizer that `to_json` described."""
    if content.get("kind") != "char":
        raise LabError(f"this version knows no tokenizer of kind {content.get('kind')!r}.")
    return CharTokenizer(content["alphabet"])
