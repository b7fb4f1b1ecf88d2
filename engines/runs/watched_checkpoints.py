"""The checkpoints of a watched run, each with its evaluation."""

import dataclasses
from pathlib import Path

from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.errors import UserError
from engines.runs.watch import WatchedRun


@dataclasses.dataclass(frozen=True)
class CheckpointFolder:
    """One checkpoint of a run, with its evaluation."""

    run_id: str
    model_kind: str
    step: int
    path: Path
    bpb: float | None  # of the evaluation at this step
    best: bool
    newest: bool


def list_checkpoints(watch: WatchedRun) -> list[CheckpointFolder]:
    """Return the checkpoints of a watched run, newest first; none if the run or its folder cannot be read."""
    try:
        folder = watch.run.checkpoints_of(watch.config) if watch.config else watch.run.checkpoints_dir
        steps = list_steps(folder)
    except (UserError, KeyError, OSError):
        return []
    overview = watch.overview
    best_step, bpb = overview.best_step, dict(overview.checkpoints)
    kind = str(watch.settings.get("model_kind", ""))
    return [
        CheckpointFolder(
            watch.run.id,
            kind,
            step,
            get_checkpoint_path(folder, step),
            bpb.get(step),
            step == best_step,
            step == steps[-1],
        )
        for step in reversed(steps)
    ]
