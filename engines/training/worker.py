"""The worker process of a run: `python -m engines.training.worker RUN --lock=FD --since=NS`, started by `runs.launch`.

It holds the run's lock until it exits. It reports everything as events; what it prints goes to worker.log.
`Worker` lists what a worker does, in order; signals.py says what it does on SIGTERM.
"""

import contextlib
import faulthandler
import gc
import os
import sys
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.exit_codes import HALTED
from engines.numbered_names import parse_numbered
from engines.runs import manifest
from engines.runs.checked_json import write_checked_json
from engines.runs.control import Inbox
from engines.runs.history import History, read_resumable_history
from engines.runs.liveness import print_ended
from engines.runs.locking import require_lock
from engines.runs.log import EventLog
from engines.runs.overview import LogDigest
from engines.runs.store import Run
from engines.settings.train import TrainSettings
from engines.training.ending import Ending, StopRequested, get_ending_of
from engines.training.heartbeat import Heartbeat
from engines.training.signals import StopSignals, terminate_this_process
from engines.training.startup import StartupReporter


class Worker:
    """One process that works on one run, from its first event to its last."""

    def __init__(self, run: Run, since_ns: int) -> None:
        """`since_ns`: Unix time; older control requests are ignored. Raises UserError if the run cannot be resumed."""
        self._run = run
        self._config = run.config
        self._history = read_resumable_history(run)
        parent_seconds = self._config.get("parent", {}).get("seconds") or 0.0
        self._log = EventLog(run.events_path, self._config["created_at"] - parent_seconds)
        self._heartbeat = Heartbeat(self._log, log_failed=terminate_this_process)
        self._inbox = Inbox(run.control_dir, since_ns)
        self._reporter = StartupReporter(self._log, self._inbox)
        self._signals = StopSignals()
        self._learners: Any = None  # the LearnerBuilder
        self._training: Any = None
        self._facts: dict[str, Any] = {}

    def work(self) -> int:
        """Work until the run ends, for whatever reason, and return the exit code."""
        self._signals.install()
        try:
            ending = self._train()
        except (Exception, StopRequested) as error:
            ending = get_ending_of(error)
        self._signals.ignore()
        return self._record_end(ending)

    def _train(self) -> Ending:
        self._record_start()
        # Imported and compiled objects stay, and traversing them takes a tenth of the start. The graphs of the scalar
        # engine have no cycles, and searching them takes longer than training.
        gc.disable()
        self._reporter.enter_phase("import")
        from engines import registry

        settings = TrainSettings(**manifest.read_resolved_settings(self._config))
        registry.check_available(settings.mode, settings.model_kind)
        prepared, learner = self._prepare_data_and_learner(settings)
        self._complete_manifest({**prepared.facts, "parameters": learner.model.parameter_count})
        self._training = self._assemble_training(settings, prepared, learner)
        if self._is_continued:
            self._training.resume(self._history)
        self._history = History()  # a long one takes memory
        self._signals.pass_to(self._training.stop)
        self._reporter.enter_phase("train")
        ending: Ending = self._training.train()
        return ending

    # --- before training --------------------------------------------------------------------------

    def _record_start(self) -> None:
        self._signals.unblock()
        self._log.emit("run", pid=os.getpid(), host=os.uname().nodename, start=len(self._history.runs) + 1)
        self._log.flush()  # a run that cannot write its first event must not spend minutes on its data
        with contextlib.suppress(OSError):
            self._run.summary_path.unlink(missing_ok=True)
        self._heartbeat.start()

    @property
    def _is_continued(self) -> bool:
        """True if the run was started before, or is a fork."""
        return bool(self._history.runs) or "parent" in self._config

    def _prepare_data_and_learner(self, settings: TrainSettings) -> tuple[Any, Any]:
        """Return the tokenizer and packed tokens, and a learner for this vocabulary."""
        from engines.data.prepare import prepare
        from engines.training.build_learner import LearnerBuilder

        self._learners = LearnerBuilder(self._history, self._log, self._heartbeat, self._reporter)
        tokenizer = self._load_recorded_tokenizer()
        learner = self._learners.build_during_preparation(settings, tokenizer)
        if learner is None:
            self._reporter.enter_phase("data")
        prepared = prepare(settings, self._reporter.report_progress, self._reporter.note, tokenizer)
        self._require_same_text(prepared.facts)
        prepared.tokenizer.encode(settings.prompt)  # an unknown character is reported now, not at the first sample
        vocab_size = prepared.tokenizer.vocab_size
        if learner is None or vocab_size != settings.vocab_size:
            learner = None  # frees its memory first
            learner = self._learners.build(settings, vocab_size)
        return prepared, learner

    def _load_recorded_tokenizer(self) -> Any:
        """Return the tokenizer of a run that continues; None for a new run. Raises UserError if it cannot continue."""
        if not self._is_continued:
            return None
        from engines.data import tokenizers
        from engines.training.resumption import check_resumable

        point = check_resumable(self._run, self._config, self._history)
        for note in point.notes if point else []:
            self._reporter.note(note)
        return tokenizers.from_json(point.tokenizer) if point else None

    def _require_same_text(self, facts: dict[str, Any]) -> None:
        """Raise UserError if the text of a resumed run has changed since the run began."""
        recorded = self._config.get("facts", facts)
        if recorded["sha256"] != facts["sha256"] or recorded["val_sha256"] != facts["val_sha256"]:
            name = self._config["resolved"]["data"]
            raise UserError(
                f"run {self._run.id} cannot be resumed: --data {name} has changed since the run began. "
                "Restore the text, or start a new run."
            )

    def _complete_manifest(self, facts: dict[str, Any]) -> None:
        """Add facts about text and model, and the hardware, at the run's first start."""
        self._facts = facts
        if "facts" not in self._config:
            self._config |= {"facts": facts, "hardware": manifest.describe_hardware()}
            self._run.write_config(self._config)

    def _assemble_training(self, settings: TrainSettings, prepared: Any, learner: Any) -> Any:
        from engines.data.batches import Batches
        from engines.training.callbacks import Callbacks
        from engines.training.loop import Training
        from engines.training.run_schedule import RunSchedule

        packed = prepared.packed
        return Training(
            settings,
            learner,
            Batches(packed.train, settings.context_length, settings.batch_size, settings.seed),
            Callbacks(self._run, settings, packed, prepared.tokenizer, self._log),
            self._log,
            self._inbox,
            self._heartbeat,
            RunSchedule.of(self._run, self._config, settings),
        )

    # --- after training ---------------------------------------------------------------------------

    def _record_end(self, ending: Ending) -> int:
        """Record how the run ended, write its summary, and return the exit code."""
        step = self._log.step if self._training else self._history.step  # the last one recorded
        self._heartbeat.stop()
        try:
            self._log.flush()
            digest = LogDigest(self._run)
            self._log.emit("ended", step=step, **ending._asdict())
            self._log.sync()
        except (UserError, OSError) as error:
            print_ended(step, "halted", HALTED, str(error))
            return HALTED
        try:
            write_checked_json(self._run.summary_path, digest.store_in(self._summarize(ending)))
        except OSError as error:  # the log holds the same figures
            print(f"{self._run.summary_path} cannot be written: {error.strerror}.", file=sys.stderr)
        return ending.exit_code

    def _summarize(self, ending: Ending) -> dict[str, Any]:
        from engines.training.summary import summarize_ending, summarize_training

        summary = summarize_ending(self._run, ending)
        if self._training:
            mfu = self._learners.compute_mfu
            summary |= summarize_training(self._training, self._log.step, self._facts, mfu)
        return summary


def train_run(run: Run, since_ns: int) -> int:
    """Train a run whose lock this process holds, and return the exit code."""
    try:
        worker = Worker(run, since_ns)
    except (UserError, OSError) as error:
        print_ended(0, "crashed", 1, str(error))
        return 1
    return worker.work()


def main(arguments: list[str]) -> int:
    """Run the worker with the arguments `RUN --lock=FD --since=NS`, and return the exit code."""
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
