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
    """Return the folder of entries of a kind; it may not exist yet."""
    import platformdirs

    return Path(platformdirs.user_cache_path("nanochat-tui")) / kind


def key(*identity: object) -> str:
    """Return a name for what is computed from these JSON values."""
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def without_notes(message: str) -> None:
    """Ignore a note: for callers that cannot show it."""


def recall(kind: str, name: str, note: Note = without_notes) -> dict[str, Any] | None:
    """Return the stored object; None if there is none, or if it is damaged, which is reported to `note`."""
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
    """Store an object atomically; do nothing if the cache cannot be written."""
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
    """Return the JSON text of an object together with its checksum."""
    return json.dumps({"sha256": _checksum(content), "content": content})


def open_seal(sealed: bytes) -> dict[str, Any]:
    """Return the object that `seal` wrote. Raises DamagedEntry if it was changed, or has no checksum."""
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
    """Return the checksum of the compact JSON text, which is the same after parsing and encoding again."""
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
