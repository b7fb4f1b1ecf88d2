"""Checkpoints: written atomically, verified when read, and pruned.

A checkpoint is a folder `step-<n>` with model.safetensors, optimizer.safetensors and tokenizer.json, and
state.json, which holds the SHA-256 of each and, as `seal`, its own. The folder is written under another name, and
renamed when it is complete and on disk.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.checkpoints import safetensors
from engines.checkpoints.folders import WRITING, get_checkpoint_path, list_steps, trash_path
from engines.errors import UserError
from engines.files import open_regular, read_regular
from engines.interfaces import Array, LearnerState

SCHEMA = 1
_NO_SEAL = "0" * 64
FILES = ("model.safetensors", "optimizer.safetensors", "tokenizer.json")


class Checkpoint(NamedTuple):
    """The content of a checkpoint. `progress`: step, position and other counters of the training loop."""

    learner: LearnerState
    tokenizer: dict[str, Any]
    settings: dict[str, Any]
    progress: dict[str, Any]


def write_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> int:
    """Write step-<n> into an existing folder, durably and atomically, and return its size in bytes."""
    final = get_checkpoint_path(folder, step)
    partial = folder / f"{WRITING}{final.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    files: dict[str, list[bytes | memoryview]] = {
        "model.safetensors": safetensors.dump(checkpoint.learner.model),
        "optimizer.safetensors": safetensors.dump(checkpoint.learner.optimizer),
        "tokenizer.json": [json.dumps(checkpoint.tokenizer).encode()],
    }
    sha256 = {name: _write_file(partial / name, parts) for name, parts in files.items()}
    state = {
        "v": SCHEMA,
        "step": step,
        "sha256": sha256,
        "settings": checkpoint.settings,
        "counters": checkpoint.learner.counters,
        "progress": checkpoint.progress,
    }
    _write_file(partial / "state.json", [_with_checksum(state)])
    size = sum(file.stat().st_size for file in partial.iterdir())
    _sync_folder(partial)
    replaced = trash_path(final)
    if final.exists():  # after a rollback the same step is reached again
        final.rename(replaced)
    partial.rename(final)
    _sync_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return size


def estimate_size(learner: LearnerState) -> int:
    """Return about how many bytes a checkpoint of this state takes on disk."""
    arrays = (*learner.model.values(), *learner.optimizer.values())
    return sum(len(array.data) for array in arrays) + 65_536


def load_newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest intact checkpoint, and a sentence for each newer one that is damaged."""
    return _read_newest(folder, load_checkpoint)


def load_newest_metadata(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the same as `load_newest_checkpoint`, but without parameters and optimizer state."""
    return _read_newest(folder, load_metadata)


def find_newest_intact(folder: Path) -> tuple[int | None, list[str]]:
    """Return the step of the newest intact checkpoint, and a sentence for each newer one that is damaged."""
    return _read_newest(folder, verify_checkpoint)


def _read_newest(folder: Path, read: Callable[[Path], Any]) -> tuple[Any, list[str]]:
    complaints: list[str] = []
    for step in reversed(list_steps(folder)):
        try:
            return read(get_checkpoint_path(folder, step)), complaints
        except UserError as error:
            complaints.append(str(error))
    return None, complaints


def load_checkpoint(path: Path, with_optimizer: bool = True) -> Checkpoint:
    """Return the content of a checkpoint folder. Raises UserError if a file is missing or damaged."""
    with _convert_errors(path):
        state = _load_state(path / "state.json")
        model = _load_arrays(path / "model.safetensors", state)
        optimizer = _load_arrays(path / "optimizer.safetensors", state) if with_optimizer else {}
        return _build_checkpoint(path, state, model, optimizer)


def load_metadata(path: Path) -> Checkpoint:
    """Return a checkpoint without parameters and optimizer state. Raises UserError if it is damaged."""
    with _convert_errors(path):
        return _build_checkpoint(path, _load_state(path / "state.json"), {}, {})


def verify_checkpoint(path: Path) -> int:
    """Check all files of a checkpoint against their hashes, without loading them, and return its step.

    Raises UserError with the name of the first file that is missing or damaged.
    """
    with _convert_errors(path):
        state = _load_state(path / "state.json")
        for name in FILES:
            _check_hash(path / name, _hash_file(path / name), state)
        return int(state["step"])


def copy_checkpoint(folder: Path, step: int, into: Path) -> None:
    """Copy a checkpoint into another run's folder, which is created. Raises UserError unless the copy is intact."""
    with _convert_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        partial = into / f"{WRITING}{get_checkpoint_path(into, step).name}"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(get_checkpoint_path(folder, step), partial)
        verify_checkpoint(partial)
        partial.rename(get_checkpoint_path(into, step))


@contextlib.contextmanager
def _convert_errors(path: Path) -> Iterator[None]:
    """Convert every error in reading or writing a checkpoint to UserError."""
    try:
        yield
    except shutil.Error as error:  # of copytree: a list of what could not be copied
        raise UserError(f"{path} cannot be copied: {error.args[0][0][2]}.") from None
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}. Use another checkpoint.") from None
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise UserError(f"{path / 'state.json'} is damaged. Use another checkpoint.") from None


def _build_checkpoint(
    path: Path, state: dict[str, Any], model: dict[str, Array], optimizer: dict[str, Array]
) -> Checkpoint:
    tokenizer = json.loads(_load_file(path / "tokenizer.json", state))
    return Checkpoint(
        LearnerState(model, optimizer, state["counters"]), tokenizer, state["settings"], state["progress"]
    )


def _with_checksum(state: dict[str, Any]) -> bytes:
    """Return state.json with its own SHA-256, computed with zeros in its place: any changed byte is detected."""
    blank = json.dumps({**state, "seal": _NO_SEAL}, indent=1).encode()
    return blank.replace(_format_seal(_NO_SEAL), _format_seal(hashlib.sha256(blank).hexdigest()))


def _load_state(path: Path) -> dict[str, Any]:
    content = read_regular(path)
    state: dict[str, Any] = json.loads(content)
    blank = content.replace(_format_seal(state["seal"]), _format_seal(_NO_SEAL))
    if hashlib.sha256(blank).hexdigest() != state["seal"]:
        raise ValueError
    if state["v"] != SCHEMA:
        raise UserError(
            f"{path.parent} cannot be read: its checkpoint schema is {state['v']}, and this version reads {SCHEMA}."
        )
    return state


def _format_seal(sha256: str) -> bytes:
    return f'"seal": "{sha256}"'.encode()


def _load_file(path: Path, state: dict[str, Any]) -> bytes:
    content = read_regular(path)
    _check_hash(path, hashlib.sha256(content).hexdigest(), state)
    return content


def _check_hash(path: Path, sha256: str, state: dict[str, Any]) -> None:
    if sha256 != state["sha256"][path.name]:
        raise UserError(f"{path} is damaged: its SHA-256 is not the recorded one. Use another checkpoint.")


def _hash_file(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_arrays(path: Path, state: dict[str, Any]) -> dict[str, Array]:
    return safetensors.parse(_load_file(path, state), str(path))


def _write_file(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
