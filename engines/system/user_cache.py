"""The user's cache: computed results, stored under a key of their inputs and verified by checksum when they are loaded.

Losing an entry costs only time.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.files import read_regular

Note = Callable[[str], None]  # receives one sentence for the user


def cache_dir(kind: str) -> Path:
    """Return the directory of entries of a kind; it may not exist yet."""
    import platformdirs

    return Path(platformdirs.user_cache_path("nanochat-tui")) / kind


def cache_key(*identity: object) -> str:
    """Return the name of an entry that is computed from these JSON values."""
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def ignore_note(message: str) -> None:
    """Discard a note; the default of callers that cannot show it."""


def cache_get(kind: str, key: str, note: Note = ignore_note) -> dict[str, Any] | None:
    """Return the stored object; None if there is none, or if it is damaged, which is reported to `note`."""
    path = cache_dir(kind) / f"{key}.json"
    try:
        return load_with_checksum(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        note(f"cache entry {path} cannot be read: {error.strerror}. It is computed again.")
    except DamagedEntry as damage:
        note(f"cache entry {path} is not used: {damage}. It is computed again.")
    return None


def cache_put(kind: str, key: str, content: dict[str, Any]) -> None:
    """Store an object atomically; do nothing if the cache cannot be written."""
    path = cache_dir(kind) / f"{key}.json"
    partial = path.with_name(f".{key}.{os.urandom(4).hex()}")  # process ids repeat across machines and containers
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(dump_with_checksum(content))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


class DamagedEntry(Exception):
    """A cache entry differs from what was written; the message is the reason."""


def dump_with_checksum(content: dict[str, Any]) -> str:
    """Return the JSON text of an object with its checksum."""
    return json.dumps({"sha256": _checksum(content), "content": content})


def load_with_checksum(text: bytes) -> dict[str, Any]:
    """Return the object that `dump_with_checksum` wrote. Raises DamagedEntry if it was changed or has no checksum."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedEntry("it is not valid JSON") from None
    if not isinstance(found, dict) or found.keys() != {"sha256", "content"} or not isinstance(found["content"], dict):
        raise DamagedEntry("it has no checksum")
    if found["sha256"] != _checksum(found["content"]):
        raise DamagedEntry("its checksum does not match")
    return dict(found["content"])


def _checksum(content: dict[str, Any]) -> str:
    """Return the checksum of the compact JSON text, which is the same after parsing and encoding again."""
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
