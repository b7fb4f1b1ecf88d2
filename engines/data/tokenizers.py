"""Tokenizers: between text and token ids. BOS is 0 in all of them and stands before every document."""

import codecs
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from engines.errors import UserError

BOS = 0
TypeCode = Literal["B", "H", "I"]  # of arrays that hold token ids: the smallest that fits the vocabulary
BYTES = tuple(bytes([value]) for value in range(256))  # the tokens from 1 in byte and bpe tokenizers

_MOST_UNKNOWN = 20  # characters in an error
_LONGEST_ALPHABET = 200  # characters of it in an error
_UNKNOWN = 255  # no ASCII alphabet has so many characters
_NEXT_BYTE = bytes([*range(1, 256), 0])  # UTF-8 has no byte 255
_UTF_16 = "utf-16-le" if sys.byteorder == "little" else "utf-16-be"


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


class _Characters:
    def __init__(self, tokenizer: CharTokenizer) -> None:
        self.add = tokenizer.token_text

    def end(self) -> str:
        return ""


class _Bytes:
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        return self._decoder.decode(self._pieces[token])

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)


def _listed(characters: Sequence[str], most: int) -> str:
    more = f" and {len(characters) - most:,} more" if len(characters) > most else ""
    return ", ".join(map(repr, characters[:most])) + more


def typecode_of(vocab_size: int) -> TypeCode:
    return "B" if vocab_size <= 1 << 8 else "H" if vocab_size <= 1 << 16 else "I"


def utf8(text: str) -> bytes:
    """UserError where the text is not made of whole characters: a command line can hold any bytes."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{text[error.start]!r} at position {error.start} is no character; give UTF-8 text.") from None


def from_json(content: Any) -> Tokenizer:
    """The tokenizer that `to_json` described. UserError where that is damaged or of another version."""
    kind = content.get("kind") if isinstance(content, dict) else None
    try:
        if kind == "char":
            return CharTokenizer.from_json(content)
        if kind == "byte":
            return ByteTokenizer()
        if kind == "bpe":
            from engines.data.bpe import BPETokenizer

            return BPETokenizer.from_json(content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"the description of a {kind} tokenizer is damaged; use another checkpoint.") from None
    raise UserError(f"this version knows no tokenizer of kind {kind!r}; use a newer one.")
