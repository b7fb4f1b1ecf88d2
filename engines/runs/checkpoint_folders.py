"""Which checkpoints a run has, without opening any: folders `step-<n>` beside each other."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import LabError
from engines.numbered_names import parse_numbered

if TYPE_CHECKING:
    from engines.runs.watch import Watch

_PREFIX = "step-"


@dataclasses.dataclass(frozen=True)
class CheckpointFolder:
    """One checkpoint of a run, and what the run's events tell about it."""

    run_id: str
    model_kind: str
    step: int
    path: Path
    bpb: float | None  # of the evaluation at this step
    best: bool
    newest: bool


def list_steps(folder: Path) -> list[int]:
    """Return the steps of all completely written checkpoints, oldest first. Anything else in the folder is ignored."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LabError(f"the checkpoint folder {folder} cannot be read ({error.strerror}).") from None
    steps = ((parse_numbered(name, _PREFIX), name) for name in names)
    return sorted(step for step, name in steps if step is not None and name == path_of(folder, step).name)


def is_checkpoint(path: str) -> bool:
    """Return whether the path leads to a checkpoint's folder; False for a name that no file can have."""
    return os.path.exists(os.path.join(path, "state.json"))


def path_of(folder: Path, step: int) -> Path:
    return folder / f"{_PREFIX}{step:08d}"


def checkpoints_of(watch: "Watch") -> list[CheckpointFolder]:
    """A watched run's checkpoints, newest first; none where the run or its folder cannot be read."""
    try:
        folder = watch.run.checkpoints_of(watch.config) if watch.config else watch.run.checkpoints_dir
        steps = list_steps(folder)
    except (LabError, KeyError, OSError):
        return []
    overview = watch.overview
    best_step, bpb = overview.best_step, dict(overview.checkpoints)
    kind = str(watch.settings.get("model_kind", ""))
    return [
        CheckpointFolder(
            watch.run.id, kind, step, path_of(folder, step), bpb.get(step), step == best_step, step == steps[-1]
        )
        for step in reversed(steps)
    ]
