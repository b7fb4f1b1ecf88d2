"""Writes checkpoints in a background thread, and deletes old ones."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from engines.checkpoints.files import Checkpoint, write_checkpoint
from engines.checkpoints.folders import get_checkpoint_path
from engines.checkpoints.retention import IntactSteps, PruneResult, prune_checkpoints
from engines.errors import UserError


class SavedCheckpoint(NamedTuple):
    """A checkpoint on disk, the steps whose checkpoints were removed after it, and why others could not be removed."""

    step: int
    path: Path
    bytes: int
    seconds: float
    removed: list[int]
    warning: str = ""


class CheckpointSaver:
    """Writes checkpoints one at a time in a background thread, during training."""

    def __init__(self, folder: Path, keep_last: int, saved: Callable[[SavedCheckpoint], None]) -> None:
        """`saved` is called from the thread when a checkpoint is durable."""
        self._folder = folder
        self._keep_last = keep_last
        self._intact = IntactSteps(folder)
        self._saved = saved
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, step: int, checkpoint: Checkpoint, best_step: int | None) -> None:
        """Start to write a checkpoint, after the previous one is complete. Raises UserError if that one failed."""
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(step, checkpoint, best_step), name="saver")
        self._thread.start()

    def is_busy(self) -> bool:
        """Return whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Wait until nothing is being written. Raises UserError if the last checkpoint could not be written."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if isinstance(self._failure, OSError):
            raise UserError(
                f"no checkpoint could be written to {self._folder}: {self._failure.strerror}. "
                "Free some space or restore the folder, then resume the run."
            ) from self._failure
        if self._failure:
            raise self._failure

    def _write(self, step: int, checkpoint: Checkpoint, best_step: int | None) -> None:
        started = time.monotonic()
        try:
            size = write_checkpoint(self._folder, step, checkpoint)
            seconds = round(time.monotonic() - started, 4)
            self._intact.add(step)
            removed, warning = self._prune(best_step)
            self._saved(SavedCheckpoint(step, get_checkpoint_path(self._folder, step), size, seconds, removed, warning))
        except BaseException as failure:  # raised in the main thread by `wait`
            self._failure = failure

    def _prune(self, best_step: int | None) -> PruneResult:
        """Remove old checkpoints. The new one is already written, so a failure is only a warning."""
        self._intact.complaints.clear()
        try:
            removed, problem = prune_checkpoints(self._folder, self._keep_last, best_step, self._intact)
        except UserError as error:
            removed, problem = [], str(error)
        return PruneResult(removed, " ".join(filter(None, [*self._intact.complaints, problem])))
