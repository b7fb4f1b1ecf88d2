"""The checkpoints that can generate text: read from the run directories in a thread, and chosen from."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.runs.watched_checkpoints import CheckpointFolder, list_checkpoints

_NO_RUNS = (
    "No runs yet, so there is nothing to sample from. Press 1 for the form and f5 to start a run with the "
    "defaults, which takes some seconds; then press 3 to return here."
)


class CheckpointChoice(NamedTuple):
    """A checkpoint of a run; without a step, the newest one at the time of each request."""

    run_path: Path
    step: int | None = None


@dataclasses.dataclass(frozen=True)
class RunCheckpoints:
    """A run and its checkpoints, newest first. `has_saved`: it wrote checkpoints, even if none is left."""

    run: Run
    is_live: bool
    state: str
    has_saved: bool
    checkpoints: tuple[CheckpointFolder, ...]

    def find(self, choice: CheckpointChoice) -> CheckpointFolder | None:
        """Return the checkpoint of a choice in this run; None if it does not exist."""
        matching = (folder for folder in self.checkpoints if choice.step in (None, folder.step))
        return next(matching, None)


class ModelList:
    """The checkpoints of all runs. Only folders of running or changed runs are read again."""

    def __init__(self) -> None:
        self._cache: dict[Path, tuple[tuple[object, ...], RunCheckpoints]] = {}
        self._runs: list[RunCheckpoints] = []

    def update(self, watches: Sequence[WatchedRun]) -> list[RunCheckpoints]:
        """Return the current runs, the same list if nothing has changed. Reads folders: call it in a thread."""
        cache, self._cache = self._cache, {}
        for watch in watches:
            version = (watch.state, id(watch.overview))
            entry = cache.get(watch.run.path)
            if entry is None or watch.is_live or entry[0] != version:
                entry = version, _read_checkpoints(watch)
            self._cache[watch.run.path] = entry
        runs = [run for _, run in self._cache.values()]
        if runs != self._runs:
            self._runs = runs
        return self._runs


def _read_checkpoints(watch: WatchedRun) -> RunCheckpoints:
    has_saved = bool(watch.overview.checkpoints)
    return RunCheckpoints(watch.run, watch.is_live, watch.state, has_saved, tuple(list_checkpoints(watch)))


def find_run(runs: Sequence[RunCheckpoints], choice: CheckpointChoice | None) -> RunCheckpoints | None:
    """Return the run of a choice; None if it is not listed."""
    return next((run for run in runs if choice and run.run.path == choice.run_path), None)


def find_checkpoint(runs: Sequence[RunCheckpoints], choice: CheckpointChoice | None) -> CheckpointFolder | None:
    """Return the checkpoint of a choice; None if it does not exist."""
    run = find_run(runs, choice)
    return run.find(choice) if run and choice else None


def default_choice(runs: Sequence[RunCheckpoints]) -> CheckpointChoice | None:
    """Return the newest run that has a checkpoint, or else the newest run."""
    candidates = [run for run in runs if run.checkpoints] or runs
    return CheckpointChoice(candidates[0].run.path) if candidates else None


def comparison_choice(runs: Sequence[RunCheckpoints], choice: CheckpointChoice) -> CheckpointChoice | None:
    """Return what to compare a choice with: the run's best or previous checkpoint, or else another run."""
    run = find_run(runs, choice)
    shown = run.find(choice) if run else None
    if run and shown:
        others = [folder for folder in run.checkpoints if folder.step != shown.step]
        best = [folder for folder in others if folder.best]
        if others:
            return CheckpointChoice(run.run.path, (best or others)[0].step)
    return default_choice([run for run in runs if run.run.path != choice.run_path and run.checkpoints])


def explain_missing_checkpoint(runs: Sequence[RunCheckpoints] | None, choice: CheckpointChoice | None) -> str:
    """Return why the chosen checkpoint cannot generate, as a sentence; empty if it can. `runs`: None if not read."""
    if runs is None:
        return "Looking for checkpoints…"
    if not runs:
        return _NO_RUNS
    run = find_run(runs, choice)
    if run is None or choice is None:
        return "Run not found: it was deleted. Press c to choose another checkpoint."
    if run.find(choice):
        return ""
    name = run.run.id
    if run.checkpoints:
        return f"Step {choice.step} of {name} was deleted. Press c to choose another checkpoint."
    if run.has_saved:
        return f"No checkpoint to sample from: all checkpoints of {name} were deleted. Press c to choose another run."
    if run.is_live:
        return f"No checkpoint yet: wait until {name} has written one, or press c to choose another run."
    return f"No checkpoint: {name} {_past_tense(run.state)} before it wrote one. Press c to choose another run."


def _past_tense(state: str) -> str:
    return {"killed": "was killed", "halted": "was halted by a guard"}.get(state, state)
