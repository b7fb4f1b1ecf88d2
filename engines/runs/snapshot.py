"""The state and history of a run, read together from its directory."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.runs import liveness
from engines.runs.checked_json import PATHS_EDITED
from engines.runs.history import History
from engines.runs.reader import EventReader
from engines.runs.store import Run


class Snapshot(NamedTuple):
    """A run or study at one time."""

    state: str
    history: History
    newer_schema: str  # the reason, if a later version wrote the log

    @property
    def is_live(self) -> bool:
        """True if its process is running."""
        return self.state in liveness.LIVE_STATES


def read_snapshot(run: Run) -> Snapshot:
    """Read a run or a study. The lock is probed before the log: a run that ends in between does not appear killed."""
    held = liveness.is_lock_held(run.lock_path)
    reader, history = EventReader(run.events_path), History()
    for _ in history.read(reader):
        pass
    state = liveness.derive_live_state(run, history) if held else liveness.derive_ended_state(run, history)
    if not held:
        count_lost_steps(run, history)
    return Snapshot(state, history, reader.newer_schema)


def count_lost_steps(run: Run, history: History) -> None:
    """Count steps of an ended run as lost if a checkpoint proves them but they are missing at the end of its log."""
    with contextlib.suppress(UserError, KeyError, OSError):  # a study has no checkpoints
        history.mark_missing_until(max(list_steps(run.checkpoints_dir), default=0))


def describe_damage(run: Run, history: History, kind: str = "run") -> list[str]:
    """Return sentences about what could not be read of the log and about edited paths; none if nothing applies."""
    sentences = [f"{kind} {run.id}: {history.damage}"] if history.damage else []
    with contextlib.suppress(UserError):
        sentences += describe_edited_paths(run, run.config)
    return sentences


def describe_edited_paths(run: Run, config: Mapping[str, Any]) -> list[str]:
    """Return a sentence if the paths in a manifest were edited; otherwise nothing."""
    edited = f"run {run.id}: a path in its config.json was edited, or is damaged."
    return [edited] if config.get(PATHS_EDITED) else []
