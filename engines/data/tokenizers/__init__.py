"""Tokenizers: between text and token ids."""

from typing import Any

from engines.data.tokenizers.base import BOS, TextStream, Tokenizer, TypeCode
from engines.data.tokenizers.byte import ByteTokenizer
from engines.data.tokenizers.char import CharTokenizer
from engines.errors import UserError

__all__ = ["BOS", "ByteTokenizer", "CharTokenizer", "TextStream", "Tokenizer", "TypeCode", "from_json"]


def from_json(content: Any) -> Tokenizer:
    """The tokenizer that `to_json` described. UserError where that is damaged or of another version."""
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
        raise UserError(f"the description of a {kind} tokenizer is damaged; use another checkpoint.") from None
    raise UserError(f"this version knows no tokenizer of kind {kind!r}; use a newer one.")
