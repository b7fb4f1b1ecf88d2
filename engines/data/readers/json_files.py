"""Documents of JSON files: JSON lines, or one array of objects or strings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.data.readers.text_files import chunks, lines
from engines.errors import UserError

_CHAT_KEYS = ("messages", "conversations", "conversation")
_LONGEST_ARRAY = 256 << 20  # characters; an array is held in memory whole
_MOST_KEYS = 5  # in a sentence


def json_lines(path: Path, key: str = "text") -> Iterator[str]:
    """Yield the text of each line: an object's string under `key`."""
    for number, line in enumerate(lines(path), 1):
        if line.strip():
            yield _text_of(_parsed(line), key, f"{path}, line {number}")


def json_documents(path: Path, key: str = "text") -> Iterator[str]:
    """Yield the texts of an array of objects or strings; a file that does not begin with [ is read as JSON lines."""
    if not _begins_with_bracket(path):
        yield from json_lines(path, key)
        return
    whole = ""
    for text in chunks(path):
        whole += text
        if len(whole) > _LONGEST_ARRAY:
            limit = f"{_LONGEST_ARRAY >> 20} Mi characters"
            raise UserError(f"{path} is a JSON array of over {limit}. Convert it to JSON lines: jq -c '.[]'")
    found = _parsed(whole)
    if not isinstance(found, list):
        raise UserError(f"{path} is not valid JSON; expected an array of objects or strings, or JSON lines.")
    for number, record in enumerate(found, 1):
        where = f"{path}, element {number}"
        yield _whole(record, where, "it") if isinstance(record, str) else _text_of(record, key, where)


def _begins_with_bracket(path: Path) -> bool:
    return next((text.lstrip()[0] for text in chunks(path) if text.strip()), "") == "["


def _parsed(text: str) -> Any:
    """Return the JSON value, or None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text_of(record: Any, key: str, where: str) -> str:
    if isinstance(record, dict) and isinstance(text := record.get(key), str):
        return _whole(text, where, f'"{key}"')
    expected = f'{where}: expected a JSON object with a string under "{key}"'
    if not isinstance(record, dict):
        raise UserError(f"{expected}.")
    chat = next((name for name in _CHAT_KEYS if isinstance(record.get(name), list)), None)
    if chat and key not in record:
        raise UserError(
            f'{where}: a chat record with "{chat}", not a text. Make one text of each conversation, for example: '
            f"jq -c '{{text: [.{chat}[] | .content // .value] | join(\"\\n\")}}'"
        )
    others = [name for name, value in record.items() if isinstance(value, str) and name != key]
    if not others or key in record:
        raise UserError(f"{expected}.")
    raise UserError(f"{expected}. It has strings under {_listed(others)}; choose one with --text-key.")


def _listed(names: list[str]) -> str:
    more = ", …" if len(names) > _MOST_KEYS else ""
    return ", ".join(repr(name[:40]) for name in names[:_MOST_KEYS]) + more


def _whole(text: str, where: str, what: str) -> str:
    """Return the text. Raises UserError if JSON names half of a surrogate pair, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: {what} contains half a surrogate pair (a lone \\ud800 to \\udfff).") from None
    return text
