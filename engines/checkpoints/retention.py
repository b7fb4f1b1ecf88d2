"""The policy for old checkpoints: the newest `keep_last` intact ones and the best one are kept."""

import shutil
from collections.abc import Container
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from engines.checkpoints.files import FILES, verify_checkpoint
from engines.checkpoints.folders import get_checkpoint_path, list_steps, trash_path
from engines.errors import UserError


class IntactSteps:
    """Checkpoints of a folder that this process wrote or verified. Only a file that changed since is hashed again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[int, tuple[object, bool]] = {}  # by step: the files' fingerprint, and whether they are intact
        self.complaints: list[str] = []  # a sentence for each damaged checkpoint that was found

    def add(self, step: int) -> None:
        """Add a checkpoint that was just written: its files were hashed during the write."""
        self._known[step] = _get_fingerprint(get_checkpoint_path(self._folder, step)), True

    def __contains__(self, step: object) -> bool:
        assert isinstance(step, int)
        fingerprint = _get_fingerprint(get_checkpoint_path(self._folder, step))
        known, is_intact = self._known.get(step, (None, False))
        if known != fingerprint:
            is_intact = self._verify(step)
            self._known[step] = fingerprint, is_intact
        return is_intact

    def _verify(self, step: int) -> bool:
        try:
            verify_checkpoint(get_checkpoint_path(self._folder, step))
        except UserError as error:
            self.complaints.append(str(error))
            return False
        return True


def _get_fingerprint(path: Path) -> object:
    """Return size, change time and inode of each file of a checkpoint; an empty tuple if one is missing."""
    try:
        files = [(path / name).stat() for name in (*FILES, "state.json")]
    except OSError:
        return ()
    return tuple((file.st_size, file.st_mtime_ns, file.st_ino) for file in files)


class PruneResult(NamedTuple):
    """Steps whose checkpoints were removed, and why others could not be removed, if any."""

    removed: list[int]
    problem: str = ""


def prune_checkpoints(
    folder: Path, keep_last: int, best_step: int | None, intact: IntactSteps | None = None
) -> PruneResult:
    """Delete checkpoints older than the newest `keep_last` intact ones (0: none), except the best one."""
    steps = list_steps(folder)
    kept = _steps_to_keep(steps, keep_last, best_step, intact if intact is not None else IntactSteps(folder))
    removed: list[int] = []
    for step in steps:
        if step not in kept:
            trash = trash_path(get_checkpoint_path(folder, step))
            try:
                get_checkpoint_path(folder, step).rename(trash)
                removed.append(step)
                shutil.rmtree(trash)
            except OSError as error:
                return PruneResult(removed, f"old checkpoints in {folder} cannot be deleted: {error.strerror}.")
    return PruneResult(removed)


def _steps_to_keep(steps: list[int], keep_last: int, best_step: int | None, intact: Container[int]) -> list[int]:
    newest = list(islice((step for step in reversed(steps) if step in intact), keep_last))
    if not newest or len(newest) < keep_last:
        return steps
    return [step for step in steps if step >= newest[-1] or step == best_step]
