"""Read documents from JSON files: JSON lines, or one array of objects or strings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.data.readers.text_files import read_chunks, read_lines
from engines.errors import UserError

_CHAT_KEYS = ("messages", "conversations", "conversation")
MAX_ARRAY_CHARACTERS = 256 << 20  # an array is held in memory as a whole
_MAX_LISTED_KEYS = 5  # in an error


def read_json_lines(path: Path, key: str = "text") -> Iterator[str]:
    """Yield the text of each line: an object's string under `key`."""
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            yield _extract_text(_parse(line), key, f"{path}, line {number}")


def read_json(path: Path, key: str = "text", max_characters: int = MAX_ARRAY_CHARACTERS) -> Iterator[str]:
    """Yield the texts of an array of objects or strings. A file that does not begin with [ is read as JSON lines."""
    if not _begins_with_bracket(path):
        yield from read_json_lines(path, key)
        return
    content = ""
    for text in read_chunks(path):
        content += text
        if len(content) > max_characters:
            limit = f"{max_characters >> 20} Mi characters"
            raise UserError(f"{path} is too large: a JSON array of over {limit}. Convert it to JSON lines: jq -c '.[]'")
    found = _parse(content)
    if not isinstance(found, list):
        raise UserError(f"{path} is not valid JSON. Give an array of objects or strings, or JSON lines.")
    for number, record in enumerate(found, 1):
        where = f"{path}, element {number}"
        yield _check_surrogates(record, where, "it") if isinstance(record, str) else _extract_text(record, key, where)


def _begins_with_bracket(path: Path) -> bool:
    return next((text.lstrip()[0] for text in read_chunks(path) if text.strip()), "") == "["


def _parse(text: str) -> Any:
    """Return the JSON value, or None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _extract_text(record: Any, key: str, where: str) -> str:
    if isinstance(record, dict) and isinstance(text := record.get(key), str):
        return _check_surrogates(text, where, f'"{key}"')
    expected = f'{where}: expected a JSON object with a string under "{key}"'
    if not isinstance(record, dict):
        raise UserError(f"{expected}.")
    chat = next((name for name in _CHAT_KEYS if isinstance(record.get(name), list)), None)
    if chat and key not in record:
        raise UserError(
            f'{where}: a chat record with "{chat}" instead of a text. Convert conversations to texts, for example: '
            f"jq -c '{{text: [.{chat}[] | .content // .value] | join(\"\\n\")}}'"
        )
    others = [name for name, value in record.items() if isinstance(value, str) and name != key]
    if not others or key in record:
        raise UserError(f"{expected}.")
    raise UserError(f"{expected}. It has strings under {_format_names(others)}. Choose one with --text-key.")


def _format_names(names: list[str]) -> str:
    more = ", …" if len(names) > _MAX_LISTED_KEYS else ""
    return ", ".join(repr(name[:40]) for name in names[:_MAX_LISTED_KEYS]) + more


def _check_surrogates(text: str, where: str, what: str) -> str:
    """Return the text. Raises UserError if JSON names half of a surrogate pair, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: {what} contains half a surrogate pair (a lone \\ud800 to \\udfff).") from None
    return text
