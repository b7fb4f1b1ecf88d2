"""Checkpoints: written whole, checked when read, and thinned out.

A checkpoint is a folder `step-<n>` with model.safetensors, optimizer.safetensors and tokenizer.json, and
state.json, which holds the sha256 of each and a seal: its own. It is written under another name and renamed
when all of it is on disk, so that one with the right name is complete.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from engines import safetensors
from engines.engine import LearnerState
from engines.errors import LabError
from engines.runs.checkpoint_folders import list_steps as list_steps
from engines.runs.checkpoint_folders import path_of as path_of
from engines.safetensors import Array

SCHEMA = 1
_WRITING = ".writing-"
_NO_SEAL = "0" * 64


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
    doomed = _doomed(final)
    if final.exists():  # after a roll-back this step is reached again
        final.rename(doomed)
    partial.rename(final)
    _sync_folder(folder)
    shutil.rmtree(doomed, ignore_errors=True)
    return size


def size_of(learner: LearnerState) -> int:
    """About how many bytes a checkpoint of this state takes on disk."""
    arrays = (*learner.model.values(), *learner.optimizer.values())
    return sum(len(array.data) for array in arrays) + 65_536


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a sentence for each newer one that is not."""
    complaints: list[str] = []
    for step in reversed(list_steps(folder)):
        try:
            return load(path_of(folder, step)), complaints
        except LabError as error:
            complaints.append(str(error))
    return None, complaints


def load(path: Path, with_optimizer: bool = True) -> Checkpoint:
    """Read one checkpoint folder. LabError if any file is missing or is not what was written."""
    try:
        state = _load_state(path / "state.json")
        if state["v"] != SCHEMA:
            raise LabError(f"{path} has checkpoint schema {state['v']}; this version reads {SCHEMA}.")
        model = _load_arrays(path / "model.safetensors", state)
        optimizer = _load_arrays(path / "optimizer.safetensors", state) if with_optimizer else {}
        tokenizer = json.loads(_load_file(path / "tokenizer.json", state))
        learner = LearnerState(model, optimizer, state["counters"])
        return Checkpoint(learner, tokenizer, state["settings"], state["progress"])
    except OSError as error:
        raise LabError(f"{error.filename} cannot be read ({error.strerror}); use another checkpoint.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LabError(f"{path / 'state.json'} is damaged; use another checkpoint.") from None


def prune(folder: Path, keep_last: int, best_step: int | None) -> list[int]:
    """Delete all but the newest `keep_last` (0: all) and the best; returns the steps that are gone."""
    steps = list_steps(folder)
    kept = set(steps[-keep_last:]) | {best_step}
    removed = [step for step in steps if step not in kept]
    for step in removed:
        doomed = _doomed(path_of(folder, step))
        path_of(folder, step).rename(doomed)
        shutil.rmtree(doomed)
    return removed


def _doomed(path: Path) -> Path:
    """The name to delete a checkpoint under: never a half-deleted folder with a good name."""
    return path.with_name(f"{_WRITING}removed-{path.name}")


def clear_unfinished(folder: Path) -> None:
    """Sweep up what a killed worker was writing."""
    for path in folder.glob(f"{_WRITING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _sealed(state: dict[str, Any]) -> bytes:
    """state.json with its own sha256, taken with zeros in its place: no byte of it changes unnoticed."""
    blank = json.dumps({**state, "seal": _NO_SEAL}, indent=1).encode()
    return blank.replace(_seal(_NO_SEAL), _seal(hashlib.sha256(blank).hexdigest()))


def _load_state(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    state: dict[str, Any] = json.loads(content)
    blank = content.replace(_seal(state["seal"]), _seal(_NO_SEAL))
    if hashlib.sha256(blank).hexdigest() != state["seal"]:
        raise ValueError
    return state


def _seal(sha256: str) -> bytes:
    return f'"seal": "{sha256}"'.encode()


def _load_file(path: Path, state: dict[str, Any]) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != state["sha256"][path.name]:
        raise LabError(f"{path} is damaged (its sha256 is not the recorded one); use another checkpoint.")
    return content


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
    """A checkpoint that is durable now, and the steps whose checkpoints made room for it."""

    step: int
    path: Path
    bytes: int
    seconds: float
    removed: list[int]


class Saver:
    """Writes checkpoints in a thread of its own, one at a time, while training goes on."""

    def __init__(self, folder: Path, keep_last: int, saved: Callable[[Saved], None]) -> None:
        """`saved` is called from the thread when a checkpoint is durable."""
        self._folder = folder
        self._keep_last = keep_last
        self._saved = saved
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, step: int, checkpoint: Checkpoint, best_step: int | None) -> None:
        """Begin to write; the previous one is waited for."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(step, checkpoint, best_step), name="saver")
        self._thread.start()

    def is_busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Return when nothing is being written; LabError if the last one could not be."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if isinstance(self._failure, OSError):
            raise LabError(
                f"no checkpoint could be written to {self._folder} ({self._failure.strerror}); free some space."
            ) from self._failure
        if self._failure:
            raise self._failure

    def _write(self, step: int, checkpoint: Checkpoint, best_step: int | None) -> None:
        started = time.monotonic()
        try:
            size = write(self._folder, step, checkpoint)
            removed = prune(self._folder, self._keep_last, best_step)
            seconds = round(time.monotonic() - started, 4)
            self._saved(Saved(step, path_of(self._folder, step), size, seconds, removed))
        except BaseException as failure:  # a thread's failure is raised where it is waited for
            self._failure = failure
