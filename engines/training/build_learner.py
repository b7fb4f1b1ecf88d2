"""Builds the learner of a run: model and optimizer, compiled, with every `auto` decided for this machine."""

import dataclasses
import gc
import importlib
import sys
from typing import Any

from engines.interfaces import Batch, Learner
from engines.runs.history import History
from engines.runs.log import EventLog
from engines.settings.train import TrainSettings
from engines.training.heartbeat import Heartbeat
from engines.training.startup import StartupReporter

_TORCH = "engines.tensor.devices"  # imports torch and filters its warnings; takes seconds of the phase `import`


class LearnerBuilder:
    """Builds the learner of one start of a run, and records the decisions for the machine as an `engine` event."""

    def __init__(self, history: History, log: EventLog, heartbeat: Heartbeat, reporter: StartupReporter) -> None:
        self._first_engine = history.first_engine  # of an earlier start; its decisions are repeated
        self._log = log
        self._heartbeat = heartbeat
        self._reporter = reporter
        self._flops_per_token = 0
        self._peak_flops: float | None = None

    def build_during_preparation(self, settings: TrainSettings, tokenizer: Any) -> Learner | None:
        """Import the engine; if its code is compiled for a GPU and the text takes long to prepare, do both at once.

        Return the learner, with the requested vocabulary size, or None if it remains to be built after the text is
        prepared. `tokenizer`: that of a run that continues, or None.
        """
        if settings.mode == "scalar":
            return None
        from engines.cost.machine import Machine, resolve_for_machine
        from engines.data.background_preparation import BackgroundPreparation
        from engines.system import bytecode, gpus

        gpu = next((gpu.name for gpu in gpus.list_gpus()), None)
        on_gpu = resolve_for_machine(self._repeat_decisions(settings), Machine(gpu, 1))
        if on_gpu.compile != "off":
            bytecode.compile_ahead()
        if on_gpu.compile == "off" or settings.tokenizer != "bpe":
            importlib.import_module(_TORCH)
            return None
        with BackgroundPreparation(settings, self._reporter.note, tokenizer) as text:
            importlib.import_module(_TORCH)
            if text.is_done():
                return None
            learner = self.build(settings, settings.vocab_size)
            self._reporter.enter_phase("data")
            text.wait(self._reporter.report_progress)
            return learner

    def build(self, settings: TrainSettings, vocab_size: int) -> Learner:
        """Return a learner that is ready to train."""
        from engines import registry

        self._reporter.enter_phase("model")
        if settings.mode != "tensor":
            return registry.create_learner(settings, vocab_size)
        from engines.tensor.devices import keep_available
        from engines.tensor.micro_batch import DoesNotFit

        decided, learner = keep_available(settings, self._repeat_decisions(settings)), None
        try:
            learner = self._build_compiled(decided, vocab_size)
        except DoesNotFit:
            if decided.micro_batch == settings.micro_batch:  # it was requested
                raise
        if learner is None:  # the micro-batch of the first start was decided on a larger GPU
            gc.collect()
            decided = dataclasses.replace(decided, micro_batch=settings.micro_batch)
            learner = self._build_compiled(decided, vocab_size)
        self._record_engine(learner, settings, decided, vocab_size)
        gc.freeze()  # a compiler leaves a million objects behind
        gc.enable()
        return learner

    def compute_mfu(self, tokens_per_second: float) -> float | None:
        """Return the model FLOPs utilization, between 0 and 1; None without a GPU of known peak."""
        return tokens_per_second * self._flops_per_token / self._peak_flops if self._peak_flops else None

    def _repeat_decisions(self, settings: TrainSettings) -> TrainSettings:
        """Return the settings with every `auto` decided as in the run's first start, if there was one."""
        from engines.runs.decisions import repeat_decisions

        return repeat_decisions(settings, self._first_engine) if self._first_engine else settings

    def _build_compiled(self, settings: TrainSettings, vocab_size: int) -> Learner:
        from engines import registry
        from engines.data.tokenizers import BOS

        learner = registry.create_learner(settings, vocab_size)
        if learner.gpu:
            self._heartbeat.report_gpus()
        self._reporter.enter_phase("compile")
        learner.warm_up(Batch.from_rows([[BOS] * (settings.context_length + 1)] * settings.batch_size))
        return learner

    def _record_engine(
        self, learner: Learner, requested: TrainSettings, decided: TrainSettings, vocab_size: int
    ) -> None:
        """Record the decisions for this machine, and what MFU is computed from."""
        from engines.cost.flops import flops_per_token
        from engines.cost.gpu_models import peak_flops
        from engines.runs.decisions import describe_differences, explain_decision

        self._flops_per_token = flops_per_token(decided, vocab_size)
        self._peak_flops = peak_flops(learner.gpu) if learner.gpu else None
        engine = {
            "choices": [explain_decision(decision, requested, decided).as_event() for decision in learner.decisions],
            "gpu": learner.gpu,
            "torch": sys.modules["torch"].__version__,
            "flops_per_token": self._flops_per_token,
            "peak_flops": self._peak_flops,
        }
        self._log.emit("engine", **engine)
        if self._first_engine and (differences := describe_differences(self._first_engine, engine)):
            self._reporter.note(differences)
