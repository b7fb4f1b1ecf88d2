"""The checkpoint folders of a run, `step-<n>`: their names and steps, without opening them."""

import os
import shutil
import time
from pathlib import Path

from engines.errors import UserError
from engines.numbered_names import parse_numbered

_PREFIX = "step-"
WRITING = ".writing-"  # prefix of folders that are not complete


def list_steps(folder: Path) -> list[int]:
    """Return the steps of all completely written checkpoints, oldest first. Anything else in the folder is ignored."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"the checkpoint folder {folder} cannot be read: {error.strerror}.") from None
    steps = ((parse_numbered(name, _PREFIX), name) for name in names)
    return sorted(step for step, name in steps if step is not None and name == get_checkpoint_path(folder, step).name)


def is_checkpoint(path: str) -> bool:
    """Return whether the path is that of a checkpoint; False for text that is not a valid path."""
    return os.path.exists(os.path.join(path, "state.json"))


def get_checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the checkpoint of a step, whether it exists or not."""
    return folder / f"{_PREFIX}{step:08d}"


def trash_path(path: Path) -> Path:
    """Return a free name for a folder during its deletion: half deleted, it must not look like a checkpoint."""
    return path.with_name(f"{WRITING}removed-{path.name}-{time.time_ns()}")


def delete_unfinished(folder: Path) -> None:
    """Delete the partial checkpoints of a killed worker."""
    for path in folder.glob(f"{WRITING}*"):
        shutil.rmtree(path, ignore_errors=True)
