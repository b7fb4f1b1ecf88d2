"""The training loop: one, for every engine, never waiting for the device but where a checkpoint needs it."""

import shutil
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from engines.checkpoints.files import Checkpoint, load_newest, size_of
from engines.checkpoints.folders import clear_unfinished
from engines.data.batches import Batches
from engines.errors import UserError
from engines.interfaces import Learner
from engines.runs.control import Inbox, Request
from engines.runs.history import History
from engines.runs.log import EventLog
from engines.settings.train import TrainSettings
from engines.training.callbacks import Milestones
from engines.training.guards import Guards, Trip
from engines.training.run_schedule import PlannedStep, RunSchedule

POLL_INTERVAL = 0.05  # seconds between looks at the requests
_MOST_ROLLBACKS = 3  # in a row without a new checkpoint: more would go round for ever
LAST_LOSSES = 50  # steps behind the mean that summaries give, as in the ancestor


class Ending(NamedTuple):
    """Why training ended. Reasons: finished, stopped, interrupted, terminated, halted, crashed."""

    reason: str
    exit_code: int
    detail: str | None = None
    traceback: str | None = None


class Pulse(Protocol):
    """Where the loop finds readings that are taken beside it."""

    def take_rss(self) -> list[int]:
        """Bytes of memory this process held, since the last call."""


class Training:
    """One run in training: where it stands, and the steps of the loop."""

    def __init__(
        self,
        settings: TrainSettings,
        learner: Learner,
        batches: Batches,
        milestones: Milestones,
        log: EventLog,
        inbox: Inbox,
        pulse: Pulse,
        schedule: RunSchedule,
    ) -> None:
        self.settings = settings
        self._learner = learner
        self._batches = batches
        self.milestones = milestones
        self._log = log
        self._inbox = inbox
        self._pulse = pulse
        self._schedule = schedule
        self._guards = Guards(settings)
        self._actions: dict[str, Callable[[], None]] = {
            "checkpoint": self._checkpoint,
            "evaluate": self._evaluate,
            "sample": self._sample,
        }
        self.step = 0  # updates handed to the learner; what is collected lags behind on a device
        self.train_seconds = 0.0
        self.recent_losses: deque[float] = deque(maxlen=LAST_LOSSES)
        self._position = 0  # rows consumed
        self._collected = 0
        self._in_flight: deque[PlannedStep] = deque()  # dispatched, not collected
        self._rollbacks = 0
        self._worth_saving = True
        self._mark = 0.0  # when the last collected step was done
        self._next_poll = 0.0
        self._ending: Ending | None = None

    def train(self) -> Ending:
        """Go on from where the run stands until something ends it; a durable checkpoint is left behind."""
        self._pulse.take_rss()  # of the start
        if self.step == 0 and self._guards.asks_for("rollback"):
            self._checkpoint()  # something to roll back to
        self._mark = time.monotonic()
        while True:
            self._do_what_is_due()
            self._obey()
            self._mind_the_budget()
            if self._ending:
                break
            self._take_step()
            self._collect()
        return self._finish(self._ending)

    def stop(self, ending: Ending) -> None:
        """End after the current step; may be called from a signal handler."""
        self._ending = self._ending or ending

    # --- steps of the loop ------------------------------------------------------------------------

    def _take_step(self) -> None:
        planned = self._schedule.plan(self.step, self._dispatched, self.train_seconds)
        self._learner.step(self._batches.batch(self._position), planned.hyperparameters)
        self._in_flight.append(planned)
        self.step += 1
        self._position += self.settings.batch_size

    def _collect(self) -> None:
        """Record what the learner has finished, and let the guards look at it."""
        results = self._learner.pop_results()
        if not results:
            return
        now = time.monotonic()
        measured, self._mark = (now - self._mark) / len(results), now
        tokens = self.settings.tokens_per_step
        for loss, grad_norm in results:
            (lr, *_), progress, repeated = self._in_flight.popleft()
            seconds = measured if repeated is None else repeated
            self._collected += 1
            self.train_seconds += seconds
            self.recent_losses.append(loss)
            self._log.record_step(loss, lr, seconds, grad_norm, self._collected * tokens, progress)
            for trip in self._guards.observe_step(self._collected, loss, grad_norm, tokens, measured):
                if self._answer(trip, self._collected):
                    return  # the remaining results belong to steps that were undone

    def _do_what_is_due(self) -> None:
        """Checkpoint, THEN evaluate, THEN sample: nothing is reported of a model that could still be lost."""
        if self._is_due("checkpoint_every") and self.step > 0:
            self._checkpoint()
        if self._is_due("eval_every") or self.step == 0:
            self._evaluate()
        if self._is_due("sample_every"):
            self._sample()

    def _is_due(self, interval: str) -> bool:
        return self._ending is None and self._schedule.is_due(interval, self.step)

    @property
    def _dispatched(self) -> int:
        """Number of steps handed to the learner, including undone ones."""
        return self._position // self.settings.batch_size

    def _obey(self) -> None:
        """Do what was asked, at most every 50 ms."""
        now = time.monotonic()
        if now < self._next_poll:
            return
        self._next_poll = now + POLL_INTERVAL
        readings = self._pulse.take_rss()
        if not self.milestones.is_saving():  # a checkpoint on its way to disk is held in memory
            for trip in (trip for rss in readings for trip in self._guards.observe_memory(self.step, rss)):
                self._answer(trip, self.step)
        while request := self._inbox.next():
            self._do(request)

    def _mind_the_budget(self) -> None:
        used_up = self._used_up()
        if used_up is None:
            return
        step = self.step
        self._settle()
        if self.step == step:  # else the last steps were rolled back: there is more to do
            self.stop(Ending("finished", 0, used_up or None))

    def _used_up(self) -> str | None:
        """Why there is nothing more to do: in words, or empty where all steps are done; None if there is."""
        settings = self.settings
        latest = self.milestones.evals.get(self.step)
        if self.step >= settings.steps or self.step == self._schedule.stop_at:
            return ""
        if settings.tokens is not None and self.step * settings.tokens_per_step >= settings.tokens:
            return "the token budget is used up"
        is_over = settings.time_budget is not None and self.train_seconds >= settings.time_budget
        if is_over and not self._schedule.is_recorded(self._dispatched):
            return "the time budget is used up"
        if settings.target_bpb is not None and latest and latest.bpb <= settings.target_bpb:
            return f"{latest.bpb:.4f} bits per byte reach the target"
        return None

    def _finish(self, ending: Ending) -> Ending:
        """Collect the last steps and save them; what a guard finds in them takes precedence over `ending`."""
        self._settle()
        self._checkpoint()
        ending = self._ending or ending
        if ending.reason == "finished":
            self._evaluate()
            self._sample()
        self.milestones.wait()
        return ending

    # --- checkpoint, evaluate, sample: at most once a step, outside the steps' time -----------------

    def _settle(self) -> None:
        """Wait for the device and collect every step."""
        self._learner.wait()
        self._collect()

    def _checkpoint(self) -> None:
        self._settle()
        if self.milestones.saved_step == self.step or not self._worth_saving:
            return
        learner = self._learner.state()
        free = shutil.disk_usage(self.milestones.folder).free
        for trip in self._guards.observe_disk(self.step, free, size_of(learner)):
            self._answer(trip, self.step)
            if trip.action == "halt":
                return
        self.milestones.save(self.step, learner, self._progress())
        self._rollbacks = 0
        self._end_startup_of("checkpoint")
        self._mark = time.monotonic()

    def _evaluate(self) -> None:
        """Evaluate; a new best of a trained model is saved too, if its step has no checkpoint."""
        self._settle()
        if self.step in self.milestones.evals:
            return
        started = time.monotonic()
        self.milestones.evaluate(self.step, self._learner.model, lambda: time.monotonic() - started)
        self._end_startup_of("evaluation")
        self._mark = time.monotonic()
        if self.settings.keep_best and self.milestones.best_step == self.step > 0:
            self._checkpoint()

    def _sample(self) -> None:
        self._settle()
        if self.milestones.sampled_step != self.step and self.settings.sample_tokens:
            self.milestones.sample(self.step, self._learner.model)
            self._mark = time.monotonic()

    def _end_startup_of(self, work: str) -> None:
        """Record work that was done: the first time may allocate lasting memory, which does not count as growth."""
        if self._guards.end_startup_of(work):
            self._pulse.take_rss()

    # --- requests and guards ----------------------------------------------------------------------

    def _do(self, request: Request) -> None:
        if request.verb == "stop":
            self.stop(Ending("stopped", 0))
        elif request.verb == "pause":
            self._settle()  # everything up to the pause is logged
        elif request.verb in self._actions:
            self._actions[request.verb]()
        self._log.emit("control", request=request.name, verb=request.verb, outcome="done")
        self._inbox.done(request)
        if request.verb == "pause":
            self._wait_for_resume()

    def _wait_for_resume(self) -> None:
        while self._ending is None:
            time.sleep(POLL_INTERVAL)
            request = self._inbox.next()
            if request and request.verb == "pause":
                self._inbox.done(request)
            elif request:
                self._do(request)
                if request.verb == "resume":
                    self._mark = time.monotonic()
                    return

    def _answer(self, trip: Trip, step: int) -> bool:
        """Report a guard's trip and apply its action; return whether the run was rolled back."""
        self._log.emit(
            "guard",
            rule=trip.rule,
            step=step,
            action=trip.action,
            value=trip.value,
            threshold=trip.threshold,
            hint=trip.hint,
        )
        if trip.action == "rollback":
            return self._roll_back(trip, step)
        if trip.action == "halt":
            self._halt(trip, step)
        return False

    def _halt(self, trip: Trip, step: int) -> None:
        """End the run. The first halt counts, and it replaces an earlier request to stop."""
        self._worth_saving = self._worth_saving and trip.rule not in ("nonfinite", "disk")
        if self._ending is None or self._ending.reason != "halted":
            code = 4 if trip.rule == "nonfinite" else 3
            self._ending = Ending("halted", code, f"{trip.rule} at step {step}: {trip.hint}.")

    # --- going back -------------------------------------------------------------------------------

    def resume(self, history: History) -> None:
        """Take up a run that ended or died, exactly where its newest whole checkpoint stands."""
        clear_unfinished(self.milestones.folder)
        checkpoint, complaints = load_newest(self.milestones.folder)
        if checkpoint:
            self.milestones.require_match(checkpoint)
            self._go_to(checkpoint, " ".join(["resume", *complaints]))
        elif complaints:
            raise UserError(f"no checkpoint is whole: {' '.join(complaints)}")
        else:
            self._log.emit("resumed", from_step=0, reason="resume")
        self._schedule.resume(history, self.step, self._dispatched)
        self.milestones.recall(history, self.step)
        self.recent_losses.extend(history.newest_losses(LAST_LOSSES, self.step))

    def _roll_back(self, trip: Trip, step: int) -> bool:
        """Return to the newest checkpoint, past the harmful data. Halt and return False if that is not possible: then
        the steps still in flight remain part of the run."""
        self.milestones.wait()
        self._rollbacks += 1
        checkpoint, _ = load_newest(self.milestones.folder)
        if checkpoint is None or self._rollbacks > _MOST_ROLLBACKS:
            self._halt(trip, step)
            return False
        self._learner.wait()
        self._learner.pop_results()  # of steps that are undone now
        self._in_flight.clear()
        position, seconds = self._position, self.train_seconds
        self._go_to(checkpoint, "rollback")
        self.milestones.go_back(self.step)
        self.recent_losses.clear()
        self._position, self.train_seconds = position, seconds
        return True

    def _go_to(self, checkpoint: Checkpoint, reason: str) -> None:
        progress = checkpoint.progress
        self._learner.load_state(checkpoint.learner)
        self.step = self._collected = progress["step"]
        self._position = progress["position"]
        self.train_seconds = progress["train_seconds"]
        self._guards.load_state(progress["guards"])
        self.milestones.saved_step = self.step
        self._log.emit("resumed", from_step=self.step, reason=reason)
        self._log.start_from(self.step)
        self._mark = time.monotonic()

    def _progress(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "position": self._position,
            "train_seconds": self.train_seconds,
            "guards": self._guards.state(),
        }
