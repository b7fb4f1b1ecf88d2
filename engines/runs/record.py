"""One run, read completely at one moment, for reports, comparisons and exports."""

from typing import Any, NamedTuple

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.runs import liveness
from engines.runs.comparison import get_section
from engines.runs.history import History
from engines.runs.portable import PortablePaths, build_portable_paths
from engines.runs.snapshot import read_snapshot
from engines.runs.store import Run


class RunRecord(NamedTuple):
    """A run with its manifest, state and history."""

    run: Run
    config: dict[str, Any]
    state: str
    history: History

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings; empty if the manifest has none."""
        return get_section(self.config, "resolved")

    @property
    def is_live(self) -> bool:
        """True if the worker was running when the run was read."""
        return self.state in liveness.LIVE_STATES

    @property
    def tokens_per_step(self) -> float:
        """The mean number of tokens per step; 0 before the first step."""
        return self.history.tokens / self.history.step if self.history.step else 0.0

    @property
    def train_seconds(self) -> float:
        """Total duration of all steps; NaN if some could not be read."""
        return self.history.train_seconds

    @property
    def portable(self) -> PortablePaths:
        """Replacements for the paths that the manifest contains."""
        return build_portable_paths(self.run, self.config)

    @property
    def shareable(self) -> "RunRecord":
        """The same run with a manifest that contains no private paths."""
        return self._replace(config=self.portable.inside(self.config))

    def list_checkpoints(self) -> list[int]:
        """Return the steps of the checkpoints that exist now; none if the folder cannot be read."""
        try:
            return list_steps(self.run.checkpoints_dir)
        except (UserError, KeyError, TypeError, OSError):
            return []


def read_record(run: Run) -> RunRecord:
    """Read a run. Raises UserError if the manifest cannot be read or a newer version wrote the log."""
    config = run.config
    state, history, newer_schema = read_snapshot(run)
    if newer_schema:
        raise UserError(f"run {run.id} was written by a newer version of nanochat-tui ({newer_schema}). Update it.")
    return RunRecord(run, config, state, history)
