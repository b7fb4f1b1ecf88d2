"""The schedule of one run: its progress at each step, by steps or by the clock, and its last step.

With a time budget, progress depends on the clock. It is fixed when a step is dispatched and logged with it, so
that a resumed run and a reproduction repeat the same steps: they use the recorded values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engines.errors import UserError
from engines.interfaces import StepHyperparameters
from engines.runs.checked_json import read_checked_json
from engines.runs.history import History
from engines.runs.manifest import SCHEDULE
from engines.runs.store import Run
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.training.schedules import compute_at_progress, compute_at_step

_INTERVALS = ("eval_every", "checkpoint_every", "sample_every")
_AUTO_PARTS = 10  # under a time budget, intervals that are `auto` are due after each tenth of the run


class PlannedStep(NamedTuple):
    """The plan of a dispatched step. `seconds`: its duration, if it repeats a recorded step."""

    hyperparameters: StepHyperparameters
    progress: float | None
    seconds: float | None


class RunSchedule:
    """Hyperparameters and progress of each step.

    `dispatched` counts all steps that were ever dispatched: unlike the step number, it is not reduced by a rollback.
    """

    def __init__(
        self,
        settings: TrainSettings,
        *,
        version: int = SCHEDULE,
        stop_at: int | None = None,
        replayed: Sequence[float | None] | None = None,
        automatic: Sequence[str] = (),
        parent: Mapping[str, Any] | None = None,
    ) -> None:
        """`stop_at`: a step to end at, whatever the schedule. `replayed`: progress of each dispatched step of the run
        that is reproduced. `automatic`: intervals to follow from progress. `parent`: of a fork, whose log begins with a
        copy of the parent's."""
        self._settings = settings
        self.stop_at = stop_at
        self._is_shaped = version >= SCHEDULE
        self.follows_progress = replayed is not None or (self._is_shaped and settings.time_budget is not None)
        self._automatic = frozenset(automatic) if self.follows_progress else frozenset()
        self._parent = parent or {"step": 0, "seconds": -1.0}
        self._recorded: dict[int, tuple[float, float | None]] = {
            dispatched: (value, None) for dispatched, value in enumerate(replayed or ()) if value is not None
        }
        self._before = self._latest = 0.0

    @classmethod
    def of(cls, run: Run, config: Mapping[str, Any], settings: TrainSettings) -> "RunSchedule":
        """Create the schedule from the run's manifest. Raises UserError if that is damaged."""
        version, stop_at = config.get("schedule", 1), config.get("stop_at")
        if type(version) is not int or type(stop_at) not in (int, type(None)):
            raise UserError(f"{run.config_path} is damaged (schedule, stop_at). Restore it from a copy.")
        return cls(
            settings,
            version=version,
            stop_at=stop_at,
            replayed=_read_progress(run) if config.get("replays_progress") else None,
            automatic=_find_automatic_intervals(config["given"]),
            parent=config.get("parent"),
        )

    def plan(self, step: int, dispatched: int, seconds: float) -> PlannedStep:
        """Plan the update after `step` finished steps and `seconds` of training."""
        settings = self._settings
        if not self.follows_progress:
            return PlannedStep(compute_at_step(step, settings, self._horizon), None, None)
        progress, repeated = self._recorded.get(dispatched) or (self._measure(step, seconds), None)
        self._before, self._latest = self._latest, progress
        return PlannedStep(compute_at_progress(progress, step, settings), progress, repeated)

    def is_due(self, name: str, step: int) -> bool:
        """Return whether an interval, named as its setting, ends at `step`, the number of steps dispatched."""
        if name in self._automatic:
            return step == 0 or math.floor(_AUTO_PARTS * self._latest) > math.floor(_AUTO_PARTS * self._before)
        every: int = getattr(self._settings, name)
        return every > 0 and step % every == 0

    def is_recorded(self, dispatched: int) -> bool:
        """Return whether the next step repeats a recorded one: then the clock does not end the run."""
        return dispatched in self._recorded

    def resume(self, history: History, step: int, dispatched: int) -> None:
        """Continue from `step`, after `dispatched` steps; those that were logged after it are repeated as recorded."""
        if not self.follows_progress:
            return
        if not self._recorded and history.last_t > self._parent["seconds"]:
            recorded = enumerate(zip(history.progress, history.seconds, strict=False))
            self._recorded = {
                dispatched - step + index: (progress, None if math.isnan(seconds) else seconds)
                for index, (progress, seconds) in recorded
                if index >= self._parent["step"] and not math.isnan(progress)
            }
        self._before, self._latest = (self._recorded.get(dispatched - n, (0.0, None))[0] for n in (2, 1))

    @property
    def _horizon(self) -> int:
        """Return the number of steps of the schedule: all, or those that the token budget allows."""
        settings = self._settings
        if settings.tokens is None or not self._is_shaped:
            return settings.steps
        return min(settings.steps, -(-settings.tokens // settings.tokens_per_step))

    def _measure(self, step: int, seconds: float) -> float:
        settings = self._settings
        parts = [self._latest, step / max(1, settings.steps)]
        if settings.tokens is not None:
            parts.append(step * settings.tokens_per_step / settings.tokens)
        if settings.time_budget is not None:
            parts.append(seconds / settings.time_budget)
        return min(1.0, max(parts))


def _find_automatic_intervals(given: Mapping[str, Any]) -> list[str]:
    """Return the intervals that are `auto`; none if --eval-every is given, which the others then follow."""
    automatic = [name for name in _INTERVALS if given.get(name, AUTO) == AUTO]
    return automatic if "eval_every" in automatic else []


def _read_progress(run: Run) -> list[float | None]:
    try:
        progress: list[float | None] = read_checked_json(run.progress_path)["progress"]
        if all(value is None or (type(value) in (int, float) and 0 <= value <= 1) for value in progress):
            return progress
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{run.progress_path} is missing or damaged. Reproduce the original run again.")
