"""A run as reports, comparisons and exports read it: at once, wholly, and as it is now."""

from typing import Any, NamedTuple

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.runs import liveness
from engines.runs.comparison import get_section
from engines.runs.history import History
from engines.runs.portable import PortablePaths, build_portable_paths
from engines.runs.snapshot import read_snapshot
from engines.runs.store import Run


class Record(NamedTuple):
    run: Run
    config: dict[str, Any]
    state: str
    history: History

    @property
    def settings(self) -> dict[str, Any]:
        return get_section(self.config, "resolved")

    @property
    def is_live(self) -> bool:
        return self.state in liveness.LIVE_STATES

    @property
    def tokens_a_step(self) -> float:
        return self.history.tokens / self.history.step if self.history.step else 0.0

    @property
    def train_seconds(self) -> float:
        """Total duration of all steps; NaN if some could not be read."""
        return self.history.train_seconds

    @property
    def portable(self) -> PortablePaths:
        return build_portable_paths(self.run, self.config)

    @property
    def handed_on(self) -> "Record":
        """With a manifest that others may read."""
        return self._replace(config=self.portable.inside(self.config))

    def kept_checkpoints(self) -> list[int]:
        """Steps of those that are there now."""
        try:
            return list_steps(self.run.checkpoints_dir)
        except (UserError, KeyError, TypeError, OSError):
            return []


def read_record(run: Run) -> Record:
    """Read a run. Raises UserError if the manifest cannot be read or a newer version wrote the log."""
    config = run.config
    state, history, newer_schema = read_snapshot(run)
    if newer_schema:
        raise UserError(f"run {run.id} was written by a newer version of nanochat-tui ({newer_schema}). Update it.")
    return Record(run, config, state, history)
