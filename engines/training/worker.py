"""The training process: `python -m engines.training.worker RUN --lock=FD --since=NS`, started by `runs.launch`.

It holds the run's lock for as long as it lives, trains, and reports everything as events; what it prints
goes to worker.log.
"""

import contextlib
import dataclasses
import faulthandler
import gc
import importlib
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from engines.errors import UserError
from engines.numbered_names import parse_numbered
from engines.runs import manifest
from engines.runs.checked_json import write_checked_json
from engines.runs.control import Inbox
from engines.runs.history import History, read_resumable
from engines.runs.liveness import print_ended
from engines.runs.locking import require_lock
from engines.runs.log import EventLog
from engines.runs.overview import LogDigest
from engines.runs.store import Run
from engines.settings.train import TrainSettings
from engines.training.heartbeat import Pulse

_TORCH = "engines.tensor.devices"  # imports it, quietly: seconds that belong to the phase of importing
_REPORT_INTERVAL = 0.5  # seconds between reports of progress within a phase
_UNWRITABLE = 3  # exit code of a run whose event log cannot be written
_ENDINGS = {signal.SIGTERM: ("terminated", 143), signal.SIGINT: ("interrupted", 130)}


class _Stopped(BaseException):
    """A request or signal to end that arrived before training began. Arguments: reason, exit code.

    Like KeyboardInterrupt, it is not an Exception: code that catches whatever a library raises must not catch it.
    """


class Worker:
    """One process's work on one run, from its first event to its last."""

    def __init__(self, run: Run, since_ns: int) -> None:
        self._run = run
        self._config = run.config
        self._inbox = Inbox(run.control_dir, since_ns)
        self._history = read_resumable(run)
        parent_seconds = self._config.get("parent", {}).get("seconds") or 0.0
        self._log = EventLog(run.events_path, self._config["created_at"] - parent_seconds)
        self._pulse = Pulse(self._log, self._end_without_log)
        self._training: Any = None
        self._facts: dict[str, Any] = {}
        self._flops_per_token = 0
        self._peak_flops: float | None = None
        self._reported = 0.0
        self._notes: set[str] = set()
        self._phase = ""

    def main(self) -> int:
        """Work until the run ends, however it does; returns the exit code."""
        for number in _ENDINGS:
            signal.signal(number, self._on_signal)
        try:
            ending = self._work()
        except (Exception, _Stopped) as error:
            ending = _ending_of(error)
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)  # the run is ending already
        return self._end(ending)

    def _work(self) -> dict[str, Any]:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)  # blocked by the launcher until handlers are installed
        self._log.emit("run", pid=os.getpid(), host=os.uname().nodename, start=len(self._history.runs) + 1)
        self._log.flush()  # a run that cannot write its first event must not spend minutes on its data
        with contextlib.suppress(OSError):
            self._run.summary_path.unlink(missing_ok=True)
        self._pulse.start()
        # What is imported and compiled stays, and looking through it takes a tenth of a start. A scalar engine's graphs
        # have no cycles either, and looking for some would take longer than training.
        gc.disable()
        self._enter("import")
        from engines import registry
        from engines.data.batches import Batches
        from engines.data.prepare import prepare
        from engines.training.callbacks import Milestones
        from engines.training.loop import Training
        from engines.training.run_schedule import RunSchedule

        settings = TrainSettings(**manifest.resolved_settings(self._config))
        registry.available(settings.mode, settings.model_kind)
        tokenizer = self._recorded_tokenizer()
        learner = self._compiled_while_reading(settings, tokenizer)
        if learner is None:
            self._enter("data")
        data = prepare(settings, self._report_progress, self._note, tokenizer)
        self._refuse_other_text(data.facts)
        vocab_size = data.tokenizer.vocab_size
        data.tokenizer.encode(settings.prompt)  # an unknown character is better told now than at the first sample
        if learner is None or vocab_size != settings.vocab_size:
            learner = None  # it holds memory
            learner = self._new_learner(settings, vocab_size)
        self._complete_manifest({**data.facts, "parameters": learner.model.parameter_count})
        self._training = Training(
            settings,
            learner,
            Batches(data.packed.train, settings.context_length, settings.batch_size, settings.seed),
            Milestones(self._run, settings, data.packed, data.tokenizer, self._log),
            self._log,
            self._inbox,
            self._pulse,
            RunSchedule.of(self._run, self._config, settings),
        )
        if self._continues:
            self._training.resume(self._history)
        self._history = History()  # a long one takes memory
        self._enter("train")
        return dict(self._training.train()._asdict())

    @property
    def _continues(self) -> bool:
        """Return whether the run was started before, or is a fork."""
        return bool(self._history.runs) or "parent" in self._config

    def _recorded_tokenizer(self) -> Any:
        """Return the tokenizer of a run that continues; None for a new run. Raises UserError if it cannot continue."""
        if not self._continues:
            return None
        from engines.data import tokenizers
        from engines.training.resumption import find_resume_point

        point = find_resume_point(self._run, self._config, self._history)
        for note in point.notes if point else []:
            self._note(note)
        return tokenizers.from_json(point.tokenizer) if point else None

    def _compiled_while_reading(self, settings: TrainSettings, tokenizer: Any) -> Any:
        """Where a GPU's code is compiled and the text takes long, both at once: the learner; else None. The vocabulary
        is taken to be as large as was asked for."""
        from engines.cost.machine import Machine, resolve_for_machine
        from engines.data.background_preparation import TextAhead
        from engines.system import bytecode, gpus

        if settings.mode == "scalar":
            return None
        gpu = next((gpu.name for gpu in gpus.gpus()), None)
        on_gpu = resolve_for_machine(self._decided_before(settings), Machine(gpu, 1))
        if on_gpu.compile != "off":
            bytecode.compile_ahead()
        if on_gpu.compile == "off" or settings.tokenizer != "bpe":
            importlib.import_module(_TORCH)
            return None
        with TextAhead(settings, self._note, tokenizer) as text:
            importlib.import_module(_TORCH)
            if text.is_done():
                return None
            learner = self._new_learner(settings, settings.vocab_size)
            self._enter("data")
            text.wait(self._report_progress)
            return learner

    def _new_learner(self, settings: TrainSettings, vocab_size: int) -> Any:
        """A learner that is ready to train."""
        from engines import registry

        self._enter("model")
        if settings.mode != "tensor":
            return registry.new_learner(settings, vocab_size)
        from engines.tensor.devices import keep_available
        from engines.tensor.micro_batch import DoesNotFit

        decided, learner = keep_available(settings, self._decided_before(settings)), None
        try:
            learner = self._warmed_up(decided, vocab_size)
        except DoesNotFit:
            if decided.micro_batch == settings.micro_batch:  # it was requested
                raise
        if learner is None:  # the micro-batch of the first start was decided on a larger GPU
            gc.collect()
            decided = dataclasses.replace(decided, micro_batch=settings.micro_batch)
            learner = self._warmed_up(decided, vocab_size)
        self._report_engine(learner, settings, decided, vocab_size)
        gc.freeze()  # a compiler leaves a million objects behind
        gc.enable()
        return learner

    def _decided_before(self, settings: TrainSettings) -> TrainSettings:
        """Return the settings with every `auto` decided as in the run's first start, if there was one."""
        from engines.runs.decisions import repeat_decisions

        before = self._history.first_engine
        return repeat_decisions(settings, before) if before else settings

    def _warmed_up(self, settings: TrainSettings, vocab_size: int) -> Any:
        from engines import registry
        from engines.data.tokenizers import BOS
        from engines.interfaces import Batch

        learner = registry.new_learner(settings, vocab_size)
        if learner.gpu:
            self._pulse.watch_gpus()
        self._enter("compile")
        learner.warm_up(Batch.of([[BOS] * (settings.context_length + 1)] * settings.batch_size))
        return learner

    # --- reporting --------------------------------------------------------------------------------

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._log.emit("phase", phase=phase, done=None, total=None)

    def _note(self, message: str) -> None:
        """Report a sentence to the user once: text may be prepared in two processes."""
        if message not in self._notes:
            self._notes.add(message)
            self._log.emit("note", message=message)

    def _report_progress(self, activity: str, done: int, total: int | None) -> None:
        """Called for every document: mostly it just looks at the clock."""
        now = time.monotonic()
        if now - self._reported < _REPORT_INTERVAL:
            return
        if self._reported:  # not for what is over at once
            self._log.emit("phase", phase=self._phase, activity=activity, done=done, total=total)
        self._reported = now
        request = self._inbox.next()
        if request and request.verb == "stop":
            self._log.emit("control", request=request.name, verb="stop", outcome="done")
            self._inbox.done(request)
            raise _Stopped("stopped", 0)

    def _report_engine(self, learner: Any, asked: TrainSettings, settings: TrainSettings, vocab_size: int) -> None:
        """Record the decisions for this machine, and the reference for its speed."""
        from engines.cost.flops import flops_per_token
        from engines.cost.gpu_models import peak_flops
        from engines.runs.decisions import describe_differences, explain

        self._flops_per_token = flops_per_token(settings, vocab_size)
        self._peak_flops = peak_flops(learner.gpu) if learner.gpu else None
        engine = {
            "choices": [explain(decision, asked, settings).as_event() for decision in learner.decisions],
            "gpu": learner.gpu,
            "torch": sys.modules["torch"].__version__,
            "flops_per_token": self._flops_per_token,
            "peak_flops": self._peak_flops,
        }
        self._log.emit("engine", **engine)
        before = self._history.first_engine
        if before and (differences := describe_differences(before, engine)):
            self._note(differences)

    def _complete_manifest(self, facts: dict[str, Any]) -> None:
        """Add what only the worker could find out."""
        self._facts = facts
        if "facts" not in self._config:
            self._config |= {"facts": facts, "hardware": manifest.hardware()}
            self._run.write_config(self._config)

    def _refuse_other_text(self, facts: dict[str, Any]) -> None:
        """A resumed run goes on with the text that it began with."""
        known = self._config.get("facts", facts)
        if known["sha256"] != facts["sha256"] or known["val_sha256"] != facts["val_sha256"]:
            name = self._config["resolved"]["data"]
            raise UserError(f"--data {name} has changed since this run began; restore it, or start a new run.")

    def _end(self, ending: dict[str, Any]) -> int:
        """Record how the run ended, and return the exit code."""
        step = self._log.step if self._training else self._history.step  # the last one recorded
        self._pulse.stop()
        try:
            self._log.flush()
            digest = LogDigest(self._run)
            self._log.emit("ended", step=step, **ending)
            self._log.sync()
        except (UserError, OSError) as error:
            print_ended(step, "halted", _UNWRITABLE, str(error))
            return _UNWRITABLE
        try:
            write_checked_json(self._run.summary_path, digest.store_in(self._summary(ending)))
        except OSError as error:  # the log holds all of it
            print(f"{self._run.summary_path} cannot be written ({error.strerror}).", file=sys.stderr)
        return int(ending["exit_code"])

    def _summary(self, ending: dict[str, Any]) -> dict[str, Any]:
        """The run in one object; figures of what never happened are null."""
        summary: dict[str, Any] = {
            "v": 1,
            "run": self._run.id,
            **{k: ending[k] for k in ("reason", "detail", "exit_code")},
        }
        training = self._training
        if training is None:
            return summary
        losses = list(training.recent_losses)
        evals = training.milestones.evals
        last = evals[max(evals)] if evals else None
        best = evals.get(training.milestones.best_step)
        steps = self._log.step
        tokens = steps * training.settings.tokens_per_step
        seconds = training.train_seconds
        figures = {
            "steps": steps,
            "tokens": tokens,
            "train_seconds": round(seconds, 6),
            "steps_per_second": round(steps / seconds, 2) if seconds else 0.0,
            "tokens_per_second": round(tokens / seconds, 2) if seconds else 0.0,
            "mfu": self._mfu(tokens / seconds) if seconds else None,
            "final_loss": losses[-1] if losses else None,
            "mean_loss_last_n": sum(losses) / len(losses) if losses else None,
            "last_n": len(losses),
            "val_loss": last.loss if last else None,
            "val_bpb": last.bpb if last else None,
            "best_val_loss": best.loss if best else None,
            "best_bpb": best.bpb if best else None,
            "best_step": training.milestones.best_step,
            "checkpoint_step": training.milestones.saved_step if training.milestones.saved_step >= 0 else None,
            **self._facts,
        }
        return summary | {name: _json_number(value) for name, value in figures.items()}

    def _mfu(self, tokens_per_second: float) -> float | None:
        """The part of the GPU's peak that training reached."""
        return tokens_per_second * self._flops_per_token / self._peak_flops if self._peak_flops else None

    # --- being asked to end -----------------------------------------------------------------------

    def _end_without_log(self) -> None:
        """End soon, even if the run is paused and writes nothing. Called from the heartbeat's thread."""
        os.kill(os.getpid(), signal.SIGTERM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        reason, code = _ENDINGS[signal.Signals(number)]
        if self._training is None or self._phase != "train":
            raise _Stopped(reason, code)
        from engines.training.loop import Ending

        self._training.stop(Ending(reason, code))


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def train_run(run: Run, since_ns: int) -> int:
    """Train a run whose lock this process holds, and return the exit code."""
    try:
        worker = Worker(run, since_ns)
    except (UserError, OSError) as error:
        print_ended(0, "crashed", 1, str(error))
        return 1
    return worker.main()


def _ending_of(error: BaseException) -> dict[str, Any]:
    """Return the fields of the event `ended` for an exception that ended the work."""
    if isinstance(error, _Stopped):
        return {"reason": error.args[0], "exit_code": error.args[1], "detail": None, "traceback": None}
    if isinstance(error, UserError):
        return {"reason": "crashed", "exit_code": 1, "detail": str(error), "traceback": None}
    if isinstance(error, OSError):  # a disk or a file of the user's, not the program
        detail = f"{error.filename or 'a file'} cannot be read or written ({error.strerror or error})."
        return {"reason": "crashed", "exit_code": 1, "detail": detail, "traceback": None}
    from engines.system import bytecode

    if damage := bytecode.discard_if_damaged(error):
        return {"reason": "crashed", "exit_code": 1, "detail": damage, "traceback": None}
    import traceback

    detail = f"{type(error).__name__}: {error}"
    return {"reason": "crashed", "exit_code": 5, "detail": detail, "traceback": traceback.format_exc()}


def main(arguments: list[str]) -> int:
    path, lock, since = arguments
    run = Run(Path(path))
    try:
        require_lock(run, lock)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    faulthandler.enable()
    return train_run(run, parse_numbered(since, "--since=") or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
