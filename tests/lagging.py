"""Runs the training loop in this process with a learner whose results arrive some steps later, as on a GPU."""

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from builders import make_run

from engines.checkpoints.files import load_checkpoint
from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.data.batches import Batches
from engines.data.prepare import PreparedData, prepare
from engines.interfaces import Batch, LearnerState, StepHyperparameters, StepResult
from engines.registry import create_learner
from engines.runs.control import Request
from engines.runs.history import History, read_history
from engines.runs.log import EventLog
from engines.runs.store import Run
from engines.settings.train import TrainSettings
from engines.training.callbacks import Callbacks
from engines.training.control_requests import Timing
from engines.training.ending import Ending
from engines.training.loop import Training
from engines.training.run_schedule import RunSchedule

LAGS = (0, 1, 16)
FAST = Timing(poll_interval=0.0)  # requests are read after every step
default_timing = FAST  # of every new rig; `set_clock` replaces its clock


class LaggingLearner:
    """A scalar bigram that reports each step `lag` steps later.

    `bad` and `loud` hold calls of `step`, counted from 1. In a bad one the loss is not finite and no update is made; of
    a loud one the loss is reported as 99 nats.
    """

    def __init__(self, settings: TrainSettings, vocab_size: int, lag: int) -> None:
        self._inner = create_learner(settings, vocab_size)
        self.model = self._inner.model
        self.decisions, self.gpu = self._inner.decisions, self._inner.gpu
        self._lag = lag
        self._pending: list[StepResult] = []
        self._done = 0  # results that can be collected
        self.calls = 0
        self.bad: set[int] = set()
        self.loud: set[int] = set()

    def warm_up(self, batch: Batch) -> None:
        """There is nothing to compile."""

    def step(self, batch: Batch, hyperparameters: StepHyperparameters) -> None:
        self.calls += 1
        if self.calls in self.bad:
            self._pending.append(StepResult(math.nan, 1.0))
        else:
            self._inner.step(batch, hyperparameters)
            (result,) = self._inner.pop_results()
            self._pending.append(StepResult(99.0, 1.0) if self.calls in self.loud else result)
        self._done = max(0, len(self._pending) - self._lag)

    def pop_results(self) -> list[StepResult]:
        results, self._pending = self._pending[: self._done], self._pending[self._done :]
        self._done = 0
        return results

    def wait(self) -> None:
        self._done = len(self._pending)

    def state(self) -> LearnerState:
        return self._inner.state()

    def load_state(self, state: LearnerState) -> None:
        assert not self._pending, "results of undone steps would count as new ones"
        self._inner.load_state(state)


class Requests:
    """An inbox in which each request appears when its step is reached. `handled` lists the verbs that were done."""

    def __init__(self, at: dict[int, str]) -> None:
        self.training: Training | None = None
        self.waiting = dict(at)
        self.handled: list[str] = []
        self.on_poll: Callable[[], None] = lambda: None

    def next(self) -> Request | None:
        assert self.training
        self.on_poll()
        due = (step for step in self.waiting if step <= self.training.state.step)
        step = next(due, None)
        return None if step is None else Request(f"{step}-{self.waiting[step]}.json", self.waiting[step])

    def done(self, request: Request) -> None:
        self.handled.append(self.waiting.pop(int(request.name.partition("-")[0])))


class NoReadings:
    """A source of memory readings that has none."""

    def drain_rss_readings(self) -> list[int]:
        return []


class Rig:
    """One start of a run: everything that a worker assembles, without a process."""

    def __init__(
        self, run: Run, lag: int, requests: dict[int, str] | None = None, timing: Timing | None = None
    ) -> None:
        self.run = run
        settings = TrainSettings(**run.config["resolved"])
        self.data = data = prepared(settings)
        self.log = EventLog(run.events_path, run.config["created_at"])
        self.learner = LaggingLearner(settings, data.tokenizer.vocab_size, lag)
        facts = {**data.facts, "parameters": self.learner.model.parameter_count}
        run.write_config({"facts": facts, "hardware": {}, **run.config})
        self.requests = Requests(requests or {})
        self.training = Training(
            settings,
            self.learner,
            Batches(data.packed.train, settings.context_length, settings.batch_size, settings.seed),
            Callbacks(run, settings, data.packed, data.tokenizer, self.log),
            self.log,
            self.requests,  # type: ignore[arg-type]
            NoReadings(),
            RunSchedule.of(run, run.config, settings),
            timing or default_timing,
        )
        self.requests.training = self.training

    def train(self) -> Ending:
        history = read_history(self.run)
        self.log.emit("run", pid=1, host="here", start=len(history.runs) + 1)
        if history.runs:
            self.training.resume(history)
        ending = self.training.train()
        self.log.emit("ended", step=self.log.step, **ending._asdict())
        self.log.sync()
        return ending

    @property
    def history(self) -> History:
        self.log.flush()
        return read_history(self.run)


def skip_disk_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", os.fsync, raising=False)


def set_clock(monkeypatch: pytest.MonkeyPatch, monotonic: Callable[[], float]) -> None:
    """Make the training loops of new rigs, and nothing else, read this clock."""
    monkeypatch.setattr("lagging.default_timing", FAST._replace(monotonic=monotonic))


def prepared(settings: TrainSettings) -> PreparedData:
    return prepare(settings, lambda activity, done, total: None)


def rig(
    folder: Path, lag: int, requests: dict[int, str] | None = None, timing: Timing | None = None, **given: Any
) -> Rig:
    """Create a run and return a rig for it."""
    folder.mkdir(exist_ok=True)
    return Rig(make_run(folder, **given), lag, requests, timing)


def saved_steps(run: Run) -> list[int]:
    return list_steps(run.checkpoints_dir)


def assert_agrees(rig: Rig, bad: Iterable[int] = ()) -> None:
    """Check that the log can be read, ends at the current step, and covers every checkpoint."""
    history = rig.history
    assert history.bad_events == 0
    assert history.step == rig.training.state.step == rig.log.step
    saved = saved_steps(rig.run)
    assert all(step <= history.step for step in saved)
    for step in saved:
        progress = load_checkpoint(get_checkpoint_path(rig.run.checkpoints_dir, step)).progress
        assert progress["step"] == step
