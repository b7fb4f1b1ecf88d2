"""The user's cache: what was found out of a corpus once, kept by what it was found from. Losing it costs only time."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

WORTHWHILE = 1_000_000  # characters; what follows from shorter text is found again in less than half a second


def folder(kind: str) -> Path:
    """Where things of a kind are kept; it may not exist yet."""
    import platformdirs

    return Path(platformdirs.user_cache_path("nanochat-tui")) / kind


def key(*identity: object) -> str:
    """A name for what is made from these JSON values."""
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def recall(kind: str, name: str) -> dict[str, Any] | None:
    """The remembered object; None where there is none, or it cannot be read."""
    try:
        found = json.loads((folder(kind) / f"{name}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def remember(kind: str, name: str, content: dict[str, Any]) -> None:
    """Keep an object, whole or not at all; a cache that cannot be written is done without."""
    path = folder(kind) / f"{name}.json"
    partial = path.with_name(f".{name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(json.dumps(content))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
