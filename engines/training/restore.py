"""Returns a run to its newest intact checkpoint: when it is resumed, and when a guard rolls it back."""

from typing import Any

from engines.checkpoints.files import Checkpoint, load_newest_checkpoint
from engines.checkpoints.folders import delete_unfinished
from engines.errors import UserError
from engines.interfaces import Learner
from engines.runs.history import History
from engines.runs.log import EventLog
from engines.training.callbacks import Callbacks
from engines.training.guards import Guards
from engines.training.run_schedule import RunSchedule
from engines.training.state import LAST_LOSSES, TrainingState

MAX_ROLLBACKS = 3  # in a row without a new checkpoint: more would repeat the same steps forever


class Restorer:
    """Restores learner, counters, guards and callbacks from checkpoints."""

    def __init__(
        self,
        state: TrainingState,
        learner: Learner,
        callbacks: Callbacks,
        guards: Guards,
        log: EventLog,
        schedule: RunSchedule,
    ) -> None:
        self._state = state
        self._learner = learner
        self._callbacks = callbacks
        self._guards = guards
        self._log = log
        self._schedule = schedule
        self._rollbacks = 0  # since the last checkpoint

    def resume(self, history: History) -> None:
        """Continue a run exactly where its newest intact checkpoint was written.

        Raises UserError if it has checkpoints but none is intact, or if they were written with other settings.
        """
        delete_unfinished(self._callbacks.folder)
        checkpoint, complaints = load_newest_checkpoint(self._callbacks.folder)
        if checkpoint:
            self._callbacks.require_match(checkpoint)
            self._restore(checkpoint, " ".join(["resume", *complaints]))
        elif complaints:
            raise UserError(f"the run cannot be resumed: no checkpoint is intact. {' '.join(complaints)}")
        else:
            self._log.emit("resumed", from_step=0, reason="resume")
        state = self._state
        self._schedule.resume(history, state.step, state.dispatched)
        self._callbacks.restore(history, state.step)
        state.recent_losses.extend(history.newest_losses(LAST_LOSSES, state.step))

    def roll_back(self) -> bool:
        """Undo all steps after the newest checkpoint, and continue from it with the data that follows.

        Return False, with nothing changed, if no checkpoint exists or the run was rolled back too often.
        """
        self._callbacks.wait_for_checkpoint()
        self._rollbacks += 1
        checkpoint, _ = load_newest_checkpoint(self._callbacks.folder)
        if checkpoint is None or self._rollbacks > MAX_ROLLBACKS:
            return False
        self._learner.wait()
        self._learner.pop_results()  # of steps that are undone
        state = self._state
        state.in_flight.clear()
        position, seconds = state.position, state.train_seconds
        self._restore(checkpoint, "rollback")
        self._callbacks.roll_back(state.step)
        state.recent_losses.clear()
        state.position, state.train_seconds = position, seconds  # the harmful data is not repeated
        return True

    def reset_rollback_count(self) -> None:
        """Allow as many rollbacks again: a new checkpoint shows progress."""
        self._rollbacks = 0

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint stores as its `progress`."""
        state = self._state
        return {
            "step": state.step,
            "position": state.position,
            "train_seconds": state.train_seconds,
            "guards": self._guards.state(),
        }

    def _restore(self, checkpoint: Checkpoint, reason: str) -> None:
        state, progress = self._state, checkpoint.progress
        self._learner.load_state(checkpoint.learner)
        state.step = state.collected = progress["step"]
        state.position = progress["position"]
        state.train_seconds = progress["train_seconds"]
        self._guards.load_state(progress["guards"])
        self._callbacks.saved_step = state.step
        self._log.emit("resumed", from_step=state.step, reason=reason)
        self._log.start_from(state.step)
