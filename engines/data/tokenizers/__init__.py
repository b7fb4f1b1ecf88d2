"""Tokenizers: convert text to token ids and back."""

from typing import Any

from engines.data.tokenizers.base import BOS, StreamDecoder, Tokenizer, TypeCode
from engines.data.tokenizers.byte import ByteTokenizer
from engines.data.tokenizers.char import CharTokenizer
from engines.errors import UserError

__all__ = ["BOS", "ByteTokenizer", "CharTokenizer", "StreamDecoder", "Tokenizer", "TypeCode", "from_json"]


def from_json(content: Any) -> Tokenizer:
    """Build the tokenizer that `to_json` described. Raises UserError if the description is damaged or unknown."""
    kind = content.get("kind") if isinstance(content, dict) else None
    try:
        if kind == "char":
            return CharTokenizer.from_json(content)
        if kind == "byte":
            return ByteTokenizer()
        if kind == "bpe":
            from engines.data.tokenizers.bpe import BPETokenizer

            return BPETokenizer.from_json(content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"the description of a {kind} tokenizer is damaged. Use another checkpoint.") from None
    raise UserError(f"unknown tokenizer {kind!r}; this version has char, byte and bpe. Use a newer version.")
