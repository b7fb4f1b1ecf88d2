"""Checkpoints: written atomically, verified when read, and pruned.

A checkpoint is a folder `step-<n>` with model.safetensors, optimizer.safetensors and tokenizer.json, and
state.json, which holds the sha256 of each and a seal: its own. It is written under another name and renamed
when all of it is on disk, so that one with the right name is complete.
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import UserError
from engines.files import open_regular, read_regular
from engines.interfaces import LearnerState
from engines.runs.checkpoint_folders import list_steps as list_steps
from engines.runs.checkpoint_folders import path_of as path_of
from engines.training import safetensors
from engines.training.safetensors import Array

SCHEMA = 1
_WRITING = ".writing-"
_NO_SEAL = "0" * 64
FILES = ("model.safetensors", "optimizer.safetensors", "tokenizer.json")


class Checkpoint(NamedTuple):
    """What a checkpoint holds. `progress`: step, position and the like, as the training loop wants them back."""

    learner: LearnerState
    tokenizer: dict[str, Any]
    settings: dict[str, Any]
    progress: dict[str, Any]


def write(folder: Path, step: int, checkpoint: Checkpoint) -> int:
    """Write step-<n> into an existing folder, durably and atomically; returns its size in bytes."""
    final = path_of(folder, step)
    partial = folder / f"{_WRITING}{final.name}"
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
    _write_file(partial / "state.json", [_sealed(state)])
    size = sum(file.stat().st_size for file in partial.iterdir())
    _sync_folder(partial)
    replaced = _trash_path(final)
    if final.exists():  # after a roll-back this step is reached again
        final.rename(replaced)
    partial.rename(final)
    _sync_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return size


def size_of(learner: LearnerState) -> int:
    """About how many bytes a checkpoint of this state takes on disk."""
    arrays = (*learner.model.values(), *learner.optimizer.values())
    return sum(len(array.data) for array in arrays) + 65_536


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a sentence for each newer one that is not."""
    return _newest(folder, load)


def describe_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Load a checkpoint as `load_newest` does, but without reading parameters and optimizer state."""
    return _newest(folder, describe)


def newest_intact(folder: Path) -> tuple[int | None, list[str]]:
    """Return the step of the newest intact checkpoint, and a sentence for each newer one that is damaged."""
    return _newest(folder, verify)


def _newest(folder: Path, read: Callable[[Path], Any]) -> tuple[Any, list[str]]:
    complaints: list[str] = []
    for step in reversed(list_steps(folder)):
        try:
            return read(path_of(folder, step)), complaints
        except UserError as error:
            complaints.append(str(error))
    return None, complaints


def load(path: Path, with_optimizer: bool = True) -> Checkpoint:
    """Read one checkpoint folder. UserError if any file is missing or is not what was written."""
    with _reading(path):
        state = _load_state(path / "state.json")
        model = _load_arrays(path / "model.safetensors", state)
        optimizer = _load_arrays(path / "optimizer.safetensors", state) if with_optimizer else {}
        return _checkpoint(path, state, model, optimizer)


def describe(path: Path) -> Checkpoint:
    """Read the tokenizer, settings and progress of a checkpoint. Raises UserError if they are damaged."""
    with _reading(path):
        return _checkpoint(path, _load_state(path / "state.json"), {}, {})


def verify(path: Path) -> int:
    """Check all files of a checkpoint against their hashes, without loading them, and return its step.

    Raises UserError with the name of the first file that is missing or damaged.
    """
    with _reading(path):
        state = _load_state(path / "state.json")
        for name in FILES:
            _check_hash(path / name, _hash_file(path / name), state)
        return int(state["step"])


def copy(folder: Path, step: int, into: Path) -> None:
    """Copy a checkpoint into another run's folder, which is created. Raises UserError unless the copy is intact."""
    with _reading(into):
        into.mkdir(parents=True, exist_ok=True)
        partial = into / f"{_WRITING}{path_of(into, step).name}"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(path_of(folder, step), partial)
        verify(partial)
        partial.rename(path_of(into, step))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert every error in reading or writing a checkpoint to UserError."""
    try:
        yield
    except shutil.Error as error:  # of copytree: a list of what could not be copied
        raise UserError(f"{path} could not be copied: {error.args[0][0][2]}.") from None
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); use another checkpoint.") from None
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        raise UserError(f"{path / 'state.json'} is damaged; use another checkpoint.") from None


def _checkpoint(path: Path, state: dict[str, Any], model: dict[str, Array], optimizer: dict[str, Array]) -> Checkpoint:
    tokenizer = json.loads(_load_file(path / "tokenizer.json", state))
    return Checkpoint(
        LearnerState(model, optimizer, state["counters"]), tokenizer, state["settings"], state["progress"]
    )


class IntactSteps:
    """Checkpoints of a folder that this process wrote or verified. Only a file that changed since is hashed again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[int, tuple[object, bool]] = {}  # by step: the files' fingerprint, and whether they are intact
        self.complaints: list[str] = []  # a sentence for each damaged checkpoint that was found

    def add(self, step: int) -> None:
        """Add a checkpoint that was just written: its files were hashed during the write."""
        self._known[step] = _fingerprint(path_of(self._folder, step)), True

    def __contains__(self, step: object) -> bool:
        assert isinstance(step, int)
        fingerprint = _fingerprint(path_of(self._folder, step))
        known, is_intact = self._known.get(step, (None, False))
        if known != fingerprint:
            is_intact = self._verify(step)
            self._known[step] = fingerprint, is_intact
        return is_intact

    def _verify(self, step: int) -> bool:
        try:
            verify(path_of(self._folder, step))
        except UserError as error:
            self.complaints.append(str(error))
            return False
        return True


def _fingerprint(path: Path) -> object:
    """Return size and change time of each file of a checkpoint; nothing if one is missing."""
    try:
        files = [(path / name).stat() for name in (*FILES, "state.json")]
    except OSError:
        return ()
    return tuple((file.st_size, file.st_mtime_ns, file.st_ino) for file in files)


class Pruned(NamedTuple):
    """Steps whose checkpoints were removed, and why others could not be removed, if any."""

    removed: list[int]
    problem: str = ""


def prune(folder: Path, keep_last: int, best_step: int | None, intact: IntactSteps | None = None) -> Pruned:
    """Delete checkpoints older than the newest `keep_last` intact ones (0: none), except the best one."""
    steps = list_steps(folder)
    kept = _steps_to_keep(steps, keep_last, best_step, intact if intact is not None else IntactSteps(folder))
    removed: list[int] = []
    for step in steps:
        if step not in kept:
            trash = _trash_path(path_of(folder, step))
            try:
                path_of(folder, step).rename(trash)
                removed.append(step)
                shutil.rmtree(trash)
            except OSError as error:
                return Pruned(removed, f"old checkpoints in {folder} could not be removed ({error.strerror}).")
    return Pruned(removed)


def _steps_to_keep(steps: list[int], keep_last: int, best_step: int | None, intact: Container[int]) -> list[int]:
    newest = list(islice((step for step in reversed(steps) if step in intact), keep_last))
    if not newest or len(newest) < keep_last:
        return steps
    return [step for step in steps if step >= newest[-1] or step == best_step]


def _trash_path(path: Path) -> Path:
    """Return a free name for a folder during its deletion: half deleted, it must not look like a checkpoint."""
    return path.with_name(f"{_WRITING}removed-{path.name}-{time.time_ns()}")


def clear_unfinished(folder: Path) -> None:
    """Delete the partial checkpoints of a killed worker."""
    for path in folder.glob(f"{_WRITING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _sealed(state: dict[str, Any]) -> bytes:
    """state.json with its own sha256, taken with zeros in its place: no byte of it changes unnoticed."""
    blank = json.dumps({**state, "seal": _NO_SEAL}, indent=1).encode()
    return blank.replace(_seal(_NO_SEAL), _seal(hashlib.sha256(blank).hexdigest()))


def _load_state(path: Path) -> dict[str, Any]:
    content = read_regular(path)
    state: dict[str, Any] = json.loads(content)
    blank = content.replace(_seal(state["seal"]), _seal(_NO_SEAL))
    if hashlib.sha256(blank).hexdigest() != state["seal"]:
        raise ValueError
    if state["v"] != SCHEMA:
        raise UserError(f"{path.parent} has checkpoint schema {state['v']}; this version reads {SCHEMA}.")
    return state


def _seal(sha256: str) -> bytes:
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


class Saved(NamedTuple):
    """A checkpoint on disk, the steps whose checkpoints were removed after it, and why others could not be removed."""

    step: int
    path: Path
    bytes: int
    seconds: float
    removed: list[int]
    warning: str = ""


class Saver:
    """Writes checkpoints one at a time in a background thread, during training."""

    def __init__(self, folder: Path, keep_last: int, saved: Callable[[Saved], None]) -> None:
        """`saved` is called from the thread when a checkpoint is durable."""
        self._folder = folder
        self._keep_last = keep_last
        self._intact = IntactSteps(folder)
        self._saved = saved
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, step: int, checkpoint: Checkpoint, best_step: int | None) -> None:
        """Begin to write; the previous one is waited for."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(step, checkpoint, best_step), name="saver")
        self._thread.start()

    def is_busy(self) -> bool:
        """Return whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Return when nothing is being written; UserError if the last one could not be."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if isinstance(self._failure, OSError):
            raise UserError(
                f"no checkpoint could be written to {self._folder} ({self._failure.strerror}). "
                "Free some space or restore the folder, then resume the run."
            ) from self._failure
        if self._failure:
            raise self._failure

    def _write(self, step: int, checkpoint: Checkpoint, best_step: int | None) -> None:
        started = time.monotonic()
        try:
            size = write(self._folder, step, checkpoint)
            seconds = round(time.monotonic() - started, 4)
            self._intact.add(step)
            removed, warning = self._prune(best_step)
            self._saved(Saved(step, path_of(self._folder, step), size, seconds, removed, warning))
        except BaseException as failure:  # a thread's failure is raised where it is waited for
            self._failure = failure

    def _prune(self, best_step: int | None) -> Pruned:
        """Remove old checkpoints. The new one is already written, so a failure is only a warning."""
        self._intact.complaints.clear()
        try:
            removed, problem = prune(self._folder, self._keep_last, best_step, self._intact)
        except UserError as error:
            removed, problem = [], str(error)
        return Pruned(removed, " ".join(filter(None, [*self._intact.complaints, problem])))
