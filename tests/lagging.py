"""The training loop in this process, around a learner whose results lag behind by some steps, as on a GPU."""

import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import make_run

from engines.checkpoints import files as checkpoints
from engines.checkpoints.folders import list_steps, path_of
from engines.data.batches import Batches
from engines.data.prepare import Prepared, prepare
from engines.interfaces import Batch, LearnerState, StepHyperparameters, StepResult
from engines.registry import new_learner
from engines.runs.control import Request
from engines.runs.history import History, read_history
from engines.runs.log import EventLog
from engines.runs.store import Run
from engines.settings.train import TrainSettings
from engines.training import loop
from engines.training.callbacks import Milestones
from engines.training.loop import Ending, Training
from engines.training.run_schedule import RunSchedule

LAGS = (0, 1, 16)


class LaggingLearner:
    """A scalar bigram that reports each step `lag` steps later. The numbers in `bad` count calls of `step` from 1:
    there the loss is not finite and no update is made; in `loud` it is reported as 99 nats."""

    def __init__(self, settings: TrainSettings, vocab_size: int, lag: int) -> None:
        self._inner = new_learner(settings, vocab_size)
        self.model = self._inner.model
        self.decisions, self.gpu = self._inner.decisions, self._inner.gpu
        self._lag = lag
        self._pending: list[StepResult] = []
        self._done = 0  # results that no longer lag
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
        assert not self._pending, "results of undone steps would be taken for new ones"
        self._inner.load_state(state)


class Requests:
    """An inbox that holds a request from the moment that a step is reached; `taken` are those that were done."""

    def __init__(self, at: dict[int, str]) -> None:
        self.training: Training | None = None
        self.waiting = dict(at)
        self.taken: list[str] = []

    def next(self) -> Request | None:
        assert self.training
        due = (step for step in self.waiting if step <= self.training.step)
        step = next(due, None)
        return None if step is None else Request(f"{step}-{self.waiting[step]}.json", self.waiting[step])

    def done(self, request: Request) -> None:
        self.taken.append(self.waiting.pop(int(request.name.partition("-")[0])))


class Readings:
    """Memory readings, all of one size."""

    def take_rss(self) -> list[int]:
        return []


class Rig:
    """One start of a run: everything that a worker puts together, without a process."""

    def __init__(self, run: Run, lag: int, requests: dict[int, str] | None = None) -> None:
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
            Milestones(run, settings, data.packed, data.tokenizer, self.log),
            self.log,
            self.requests,  # type: ignore[arg-type]
            Readings(),
            RunSchedule.of(run, run.config, settings),
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


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are read after every step, and nothing waits for the disk."""
    monkeypatch.setattr(loop, "POLL_INTERVAL", 0.0)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", os.fsync, raising=False)


def set_clock(monkeypatch: pytest.MonkeyPatch, monotonic: Callable[[], float]) -> None:
    """Let the training loop, and nothing else, read this clock."""
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))


def prepared(settings: TrainSettings) -> Prepared:
    return prepare(settings, lambda activity, done, total: None)


def rig(folder: Path, lag: int, requests: dict[int, str] | None = None, **given: Any) -> Rig:
    """A new run."""
    folder.mkdir(exist_ok=True)
    return Rig(make_run(folder, **given), lag, requests)


def saved_steps(run: Run) -> list[int]:
    return list_steps(run.checkpoints_dir)


def assert_agrees(rig: Rig, bad: Iterable[int] = ()) -> None:
    """Check that the log can be read, ends at the current step, and covers every checkpoint."""
    history = rig.history
    assert history.bad_events == 0
    assert history.step == rig.training.step == rig.log.step
    saved = saved_steps(rig.run)
    assert all(step <= history.step for step in saved)
    for step in saved:
        progress = checkpoints.load(path_of(rig.run.checkpoints_dir, step)).progress
        assert progress["step"] == step
