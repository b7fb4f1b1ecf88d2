"""The training loop of every engine. It waits for the device only where a checkpoint, evaluation or sample needs it."""

import shutil
from typing import Protocol

from engines.checkpoints.files import estimate_size
from engines.data.batches import Batches
from engines.exit_codes import HALTED, NOT_FINITE
from engines.interfaces import Learner
from engines.runs.control import Inbox
from engines.runs.history import History
from engines.runs.log import EventLog
from engines.settings.train import TrainSettings
from engines.training.budgets import find_reached_limit
from engines.training.callbacks import Callbacks
from engines.training.control_requests import ControlRequests, Timing
from engines.training.ending import Ending
from engines.training.guards import GuardAlert, Guards
from engines.training.restore import Restorer
from engines.training.run_schedule import RunSchedule
from engines.training.state import TrainingState

REAL_TIME = Timing()


class MemoryReadings(Protocol):
    """Source of memory readings that are taken in the background."""

    def drain_rss_readings(self) -> list[int]:
        """Return the bytes of memory of this process, one reading every two seconds since the last call."""


class Training:
    """One run in training: the loop, and the actions between its steps."""

    def __init__(
        self,
        settings: TrainSettings,
        learner: Learner,
        batches: Batches,
        callbacks: Callbacks,
        log: EventLog,
        inbox: Inbox,
        memory: MemoryReadings,
        schedule: RunSchedule,
        timing: Timing = REAL_TIME,
    ) -> None:
        self.settings = settings
        self.callbacks = callbacks
        self.state = TrainingState(settings.batch_size)
        self._learner = learner
        self._batches = batches
        self._log = log
        self._memory = memory
        self._schedule = schedule
        self._timing = timing
        self._guards = Guards(settings)
        self._restorer = Restorer(self.state, learner, callbacks, self._guards, log, schedule)
        actions = {
            "stop": lambda: self.stop(Ending("stopped", 0)),
            "pause": self._wait_for_device,  # so that every step up to the pause is logged
            "checkpoint": self._save_checkpoint,
            "evaluate": self._evaluate,
            "sample": self._sample,
        }
        self._requests = ControlRequests(inbox, log, actions, lambda: self._ending is not None, timing)
        self._ending: Ending | None = None
        self._is_worth_saving = True
        self._step_started = 0.0  # when the last collected step ended, or other work between steps
        self._next_poll = 0.0

    def resume(self, history: History) -> None:
        """Continue a run that ended or was killed, exactly where its newest intact checkpoint was written."""
        self._restorer.resume(history)

    def train(self) -> Ending:
        """Train from the current step until something ends the run. The last step is saved before this returns."""
        self._memory.drain_rss_readings()  # those of the start
        if self.state.step == 0 and self._guards.has_action("rollback"):
            self._save_checkpoint()  # the first one to roll back to
        self._restart_step_timer()
        while True:
            self._run_due_callbacks()
            self._handle_control_requests()
            self._check_budgets()
            if self._ending:
                return self._finish(self._ending)
            self._dispatch_step()
            self._collect_results()

    def stop(self, ending: Ending) -> None:
        """End after the current step. May be called from a signal handler; the first ending counts."""
        self._ending = self._ending or ending

    # --- steps of the loop ------------------------------------------------------------------------

    def _run_due_callbacks(self) -> None:
        """Checkpoint, THEN evaluate, THEN sample: nothing is reported of a model that could still be lost."""
        if self._is_due("checkpoint_every") and self.state.step > 0:
            self._save_checkpoint()
        if self._is_due("eval_every") or self.state.step == 0:
            self._evaluate()
        if self._is_due("sample_every"):
            self._sample()

    def _is_due(self, interval: str) -> bool:
        return self._ending is None and self._schedule.is_due(interval, self.state.step)

    def _handle_control_requests(self) -> None:
        """Perform requests and check memory, at most every 50 ms."""
        now = self._timing.monotonic()
        if now < self._next_poll:
            return
        self._next_poll = now + self._timing.poll_interval
        readings = self._memory.drain_rss_readings()
        if not self.callbacks.is_saving():  # a checkpoint that is being written is held in memory
            for alert in (alert for rss in readings for alert in self._guards.observe_memory(self.state.step, rss)):
                self._handle_alert(alert, self.state.step)
        if self._requests.handle_all():
            self._restart_step_timer()

    def _check_budgets(self) -> None:
        step = self.state.step
        evaluation = self.callbacks.evals.get(step)
        ending = find_reached_limit(self.settings, self._schedule, self.state, evaluation.bpb if evaluation else None)
        if ending:
            self._wait_for_device()
            if self.state.step == step:  # otherwise the last steps were rolled back, and there are more to take
                self.stop(ending)

    def _dispatch_step(self) -> None:
        state = self.state
        planned = self._schedule.plan(state.step, state.dispatched, state.train_seconds)
        self._learner.step(self._batches.batch(state.position), planned.hyperparameters)
        state.in_flight.append(planned)
        state.step += 1
        state.position += self.settings.batch_size

    def _collect_results(self) -> None:
        """Record the steps that the device has finished, and pass them to the guards."""
        results = self._learner.pop_results()
        if not results:
            return
        now = self._timing.monotonic()
        measured, self._step_started = (now - self._step_started) / len(results), now
        state, tokens = self.state, self.settings.tokens_per_step
        for loss, grad_norm in results:
            (lr, *_), progress, recorded_seconds = state.in_flight.popleft()
            seconds = measured if recorded_seconds is None else recorded_seconds
            state.collected += 1
            state.train_seconds += seconds
            state.recent_losses.append(loss)
            self._log.record_step(loss, lr, seconds, grad_norm, state.collected * tokens, progress)
            for alert in self._guards.observe_step(state.collected, loss, grad_norm, tokens, measured):
                if self._handle_alert(alert, state.collected):
                    return  # the remaining results belong to undone steps

    def _finish(self, ending: Ending) -> Ending:
        """Collect and save the last steps; a guard that halts the run on them takes precedence over `ending`."""
        self._wait_for_device()
        self._save_checkpoint()
        ending = self._ending or ending
        if ending.reason == "finished":
            self._evaluate()
            self._sample()
        self.callbacks.wait_for_checkpoint()
        return ending

    # --- checkpoint, evaluate, sample: at most once per step, and not part of a step's duration -------

    def _wait_for_device(self) -> None:
        """Wait until every dispatched step is done, and collect the results."""
        self._learner.wait()
        self._collect_results()

    def _save_checkpoint(self) -> None:
        self._wait_for_device()
        if self.callbacks.saved_step == self.state.step or not self._is_worth_saving:
            return
        learner = self._learner.state()
        free = shutil.disk_usage(self.callbacks.folder).free
        for alert in self._guards.observe_disk(self.state.step, free, estimate_size(learner)):
            self._handle_alert(alert, self.state.step)
            if alert.action == "halt":
                return
        self.callbacks.save_checkpoint(self.state.step, learner, self._restorer.progress())
        self._restorer.reset_rollback_count()
        self._end_startup_of("checkpoint")
        self._restart_step_timer()

    def _evaluate(self) -> None:
        """Evaluate. A new best after step 0 is saved as well, unless its step has a checkpoint."""
        self._wait_for_device()
        if self.state.step in self.callbacks.evals:
            return
        started = self._timing.monotonic()
        self.callbacks.evaluate(self.state.step, self._learner.model, lambda: self._timing.monotonic() - started)
        self._end_startup_of("evaluation")
        self._restart_step_timer()
        if self.settings.keep_best and self.callbacks.best_step == self.state.step > 0:
            self._save_checkpoint()

    def _sample(self) -> None:
        self._wait_for_device()
        if self.callbacks.sampled_step != self.state.step and self.settings.sample_tokens:
            self.callbacks.generate_sample(self.state.step, self._learner.model)
            self._restart_step_timer()

    def _end_startup_of(self, work: str) -> None:
        """Ignore the memory readings so far: work that is done for the first time allocates lasting memory."""
        if self._guards.end_startup_of(work):
            self._memory.drain_rss_readings()

    def _restart_step_timer(self) -> None:
        self._step_started = self._timing.monotonic()

    # --- guards -----------------------------------------------------------------------------------

    def _handle_alert(self, alert: GuardAlert, step: int) -> bool:
        """Record a guard's alert and perform its action. Return whether the run was rolled back."""
        self._log.emit("guard", **{"rule": alert.rule, "step": step, **alert._asdict()})
        if alert.action == "rollback" and self._restorer.roll_back():
            self._restart_step_timer()
            return True
        if alert.action in ("halt", "rollback"):
            self._halt(alert, step)
        return False

    def _halt(self, alert: GuardAlert, step: int) -> None:
        """End the run. The first halt counts, and it replaces an earlier request to stop."""
        self._is_worth_saving = self._is_worth_saving and alert.rule not in ("nonfinite", "disk")
        if self._ending is None or self._ending.reason != "halted":
            code = NOT_FINITE if alert.rule == "nonfinite" else HALTED
            self._ending = Ending("halted", code, f"{alert.rule} at step {step}: {alert.hint}.")
