"""JSON files that are written atomically, and the checksums of manifests, plans and summaries."""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.files import read_regular

PATH_SETTINGS = ("data", "val_data", "checkpoint_dir")
PATHS_EDITED = "paths_edited"  # in a manifest that was read, if its paths have been edited
_PATHS_CHECKSUM = "paths_checksum"
CHECKPOINTS = "checkpoints"  # the folder of a run's checkpoints, unless --checkpoint-dir is given


def read_checked_json(path: Path, verified: int | None = None) -> Any:
    """Read what `write_checked_json` wrote, without its checksums. Raises ValueError if the content does not match.

    Paths may be edited, since texts and folders move: if they do not match, the result has `PATHS_EDITED`.
    Files of version 0.1 have no checksum and are not verified, nor are files whose CRC-32 is `verified`.
    """
    encoded = read_regular(path)
    content = parse_json(encoded)
    if not isinstance(content, dict) or "checksum" not in content:
        return content
    checksum, paths_checksum = content.pop("checksum"), content.pop(_PATHS_CHECKSUM, None)
    if verified is None or zlib.crc32(encoded) != verified:
        others, paths = _split_paths(content)
        if checksum != _compute_checksum(others):
            raise ValueError("the checksum does not match the content")
        if paths_checksum is not None and paths_checksum != _compute_checksum(paths):
            content[PATHS_EDITED] = True
    return content


def write_checked_json(path: Path, content: dict[str, Any]) -> None:
    """Write atomically, with checksums of the paths and of all else: an edited value or a flipped bit is detected."""
    derived = ("checksum", _PATHS_CHECKSUM, PATHS_EDITED)
    content = {name: value for name, value in content.items() if name not in derived}
    others, paths = _split_paths(content)
    checksums = {
        "checksum": _compute_checksum(others),
        **({_PATHS_CHECKSUM: _compute_checksum(paths)} if paths else {}),
    }
    write_json(path, {**content, **checksums})


def _split_paths(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content without its paths, and the paths. The text at a path has a hash of its own."""
    others = {name: value for name, value in content.items() if name != CHECKPOINTS}
    paths = {CHECKPOINTS: content[CHECKPOINTS]} if CHECKPOINTS in content else {}
    for name in ("given", "resolved"):
        if isinstance(settings := others.get(name), dict):
            others[name] = {key: value for key, value in settings.items() if key not in PATH_SETTINGS}
            paths[name] = {key: value for key, value in settings.items() if key in PATH_SETTINGS}
    return others, paths


def _compute_checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ValueError if it is invalid."""
    return parse_json(read_regular(path))


def parse_json(encoded: bytes) -> Any:
    """Return the parsed JSON. Raises ValueError if it is invalid or nested too deep."""
    try:
        return json.loads(encoded)
    except RecursionError:
        raise ValueError("nested too deep") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically and durably. Characters that UTF-8 cannot encode, as in paths, are escaped."""
    partial = path.with_name(f".{path.name}.tmp")
    with open(partial, "w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
