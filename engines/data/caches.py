"""The user's cache: results computed from a corpus, stored under a key of their inputs and verified by checksum when
they are read again. Losing an entry costs only time."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.files import read_regular

WORTHWHILE = 1_000_000  # characters; what follows from shorter text is computed again in less than half a second

Note = Callable[[str], None]  # receives one sentence for the user


def folder(kind: str) -> Path:
    """The folder of entries of a kind; it may not exist yet."""
    import platformdirs

    return Path(platformdirs.user_cache_path("nanochat-tui")) / kind


def key(*identity: object) -> str:
    """A name for what is computed from these JSON values."""
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def without_notes(message: str) -> None:
    """A `Note` for callers that have nowhere to show it."""


def recall(kind: str, name: str, note: Note = without_notes) -> dict[str, Any] | None:
    """The stored object; None where there is none, or it is damaged, which `note` reports."""
    path = folder(kind) / f"{name}.json"
    try:
        return open_seal(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        note(f"cache entry {path} cannot be read: {error.strerror}. It is computed again.")
    except DamagedEntry as damage:
        note(f"cache entry {path} is not used: {damage}. It is computed again.")
    return None


def remember(kind: str, name: str, content: dict[str, Any]) -> None:
    """Store an object, whole or not at all; nothing is stored in a cache that cannot be written."""
    path = folder(kind) / f"{name}.json"
    partial = path.with_name(f".{name}.{os.urandom(4).hex()}")  # process ids repeat across machines and containers
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(seal(content))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


class DamagedEntry(Exception):
    """A cache entry that is not what was written; the message is the reason."""


def seal(content: dict[str, Any]) -> str:
    """The JSON text of an object together with its checksum."""
    return json.dumps({"sha256": _checksum(content), "content": content})


def open_seal(sealed: bytes) -> dict[str, Any]:
    """The object that `seal` wrote. DamagedEntry if it was changed since, or written without a checksum."""
    try:
        found = json.loads(sealed)
    except (ValueError, RecursionError):
        raise DamagedEntry("it is not valid JSON") from None
    if not isinstance(found, dict) or found.keys() != {"sha256", "content"} or not isinstance(found["content"], dict):
        raise DamagedEntry("it has no checksum")
    if found["sha256"] != _checksum(found["content"]):
        raise DamagedEntry("its checksum does not match")
    return dict(found["content"])


def _checksum(content: dict[str, Any]) -> str:
    """Of the compact JSON text, which is the same again after it was parsed."""
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
