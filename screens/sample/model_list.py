"""Which checkpoints can speak: read from the runs' folders in a thread, anew only where something may have changed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engines.runs.store import Run
from engines.runs.watch import Watch
from engines.runs.watched_checkpoints import CheckpointFolder, checkpoints_of


class Choice(NamedTuple):
    """A run's checkpoint; without a step, the newest one whenever it is asked to speak."""

    run: Path
    step: int | None = None


@dataclasses.dataclass(frozen=True)
class ShelfRun:
    """A run and its checkpoints, newest first; `saved`: whether there ever were any."""

    run: Run
    live: bool
    state: str
    saved: bool
    checkpoints: tuple[CheckpointFolder, ...]

    def find(self, choice: Choice) -> CheckpointFolder | None:
        wanted = (found for found in self.checkpoints if choice.step in (None, found.step))
        return next(wanted, None)


class Shelf:
    """Remembers what it saw of runs in which nothing has happened since."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[tuple[object, ...], ShelfRun]] = {}
        self._runs: list[ShelfRun] = []

    def look(self, watches: Sequence[Watch]) -> list[ShelfRun]:
        """Return the current runs, the same list if nothing has changed. Reads folders, so it runs in a thread."""
        kept, self._kept = self._kept, {}
        for watch in watches:
            version = (watch.state, id(watch.overview))
            known = kept.get(watch.run.path)
            if known is None or watch.is_live or known[0] != version:
                there = tuple(checkpoints_of(watch))
                known = (
                    version,
                    ShelfRun(watch.run, watch.is_live, watch.state, bool(watch.overview.checkpoints), there),
                )
            self._kept[watch.run.path] = known
        runs = [shelf_run for _, shelf_run in self._kept.values()]
        if runs != self._runs:
            self._runs = runs
        return self._runs


def run_of(runs: Sequence[ShelfRun], choice: Choice | None) -> ShelfRun | None:
    return next((run for run in runs if choice and run.run.path == choice.run), None)


def first_choice(runs: Sequence[ShelfRun]) -> Choice | None:
    """The newest run that has a checkpoint; else the newest run."""
    speaking = [run for run in runs if run.checkpoints] or runs
    return Choice(speaking[0].run.path) if speaking else None


def other_choice(runs: Sequence[ShelfRun], beside: Choice) -> Choice | None:
    """What is worth hearing beside a choice: the same run's best, or its one before, else another run."""
    own = run_of(runs, beside)
    shown = own.find(beside) if own else None
    if own and shown:
        others = [found for found in own.checkpoints if found.step != shown.step]
        best = [found for found in others if found.best]
        if others:
            return Choice(own.run.path, (best or others)[0].step)
    return first_choice([run for run in runs if run.run.path != beside.run and run.checkpoints])
