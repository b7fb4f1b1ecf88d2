"""The process of a study: `python -m engines.ablation.queue STUDY --lock=FD --since=NS`, started by
`study.start_queue`.

It holds the study's lock, trains the cells as ordinary runs, several at a time, and logs events as a run does. The
phase `train` counts runs, and the field `cell` of such an event names the one that changed. Finished work is read from
the runs' directories, so the queue can be killed at any time; the next one waits for runs that are still active.
"""

import contextlib
import faulthandler
import math
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from engines.ablation import tables
from engines.ablation.launchers import Handle, Launcher, create_launcher
from engines.ablation.plan import Job
from engines.ablation.results import RunResult, failed_start, load_result
from engines.ablation.schedule import pending_jobs, rung_settings, rung_stop_step
from engines.ablation.slots import Slot
from engines.ablation.study import Study
from engines.errors import UserError
from engines.exit_codes import FAILURE, HALTED, INTERRUPTED, TERMINATED, UNEXPECTED_EXIT
from engines.numbered_names import parse_numbered
from engines.runs import control, liveness
from engines.runs.control import Inbox
from engines.runs.history import read_history, read_resumable_history
from engines.runs.locking import require_lock
from engines.runs.log import EventLog
from engines.runs.store import Run
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.training.create_run import create_run
from engines.training.fork import fork_run

_POLL_INTERVAL = 0.02  # seconds between checks of runs and control requests
_HEARTBEAT_INTERVAL = 2.0  # seconds
_TABLES_TIME_SHARE = 0.05  # at most this share of the time goes into tables that the next result replaces
_ENDINGS = {signal.SIGTERM: ("terminated", TERMINATED), signal.SIGINT: ("interrupted", INTERRUPTED)}
_RESUMABLE = ("stopped", "killed")  # outcomes after which a run is not done yet


class _ActiveRun(NamedTuple):
    """A run that is training. `handle` is None if an earlier queue started it."""

    run: Run
    handle: Handle | None
    slot: Slot

    def has_ended(self) -> bool:
        """Return whether the run has ended: by its handle, or by its lock if an earlier queue started it."""
        return self.handle.poll() is not None if self.handle else not liveness.is_lock_held(self.run.lock_path)


class StudyQueue:
    """Trains the pending jobs of one study until none is left or a stop is requested."""

    def __init__(self, study: Study, since_ns: int) -> None:
        self._study = study
        self._plan = study.plan
        self._inbox = Inbox(study.control_dir, since_ns)
        self._starts = len(read_resumable_history(study).runs)
        self._log = EventLog(study.events_path, study.created_at)
        self._launcher: Launcher
        self._active: dict[Job, _ActiveRun] = {}
        self._results: dict[Job, RunResult] = {}
        self._pending: list[Job] = []  # as far as the results decide; includes active jobs
        self._is_paused = False
        self._ending: tuple[str, int] | None = None  # reason and exit code, once the queue is to end
        self._is_stopping = False
        self._next_heartbeat = 0.0
        self._next_tables = 0.0

    def main(self) -> int:
        """Train until the study is finished or a stop is requested, and return the exit code."""
        self._install_signal_handlers()
        ending: dict[str, Any] = {"detail": None, "traceback": None}
        try:
            self._log.emit("run", pid=os.getpid(), host=os.uname().nodename, start=self._starts + 1)
            reason, code = self._train()
            paths = tables.write_all_tables(self._study, self._plan, self._results)
            ending |= {"reason": reason, "exit_code": code, "tables": paths}
        except UserError as error:
            ending |= {"reason": "crashed", "exit_code": FAILURE, "detail": str(error)}
        except OSError as error:
            detail = f"{error.filename or self._study.path} cannot be read or written: {error.strerror}."
            ending |= {"reason": "crashed", "exit_code": FAILURE, "detail": detail}
        except Exception as error:
            ending |= {"reason": "crashed", "exit_code": UNEXPECTED_EXIT, "detail": f"{type(error).__name__}: {error}"}
            ending |= {"traceback": traceback.format_exc()}
        return self._record_end(ending)

    def _record_end(self, ending: dict[str, Any]) -> int:
        """Record how the queue ended, and return the exit code."""
        try:
            self._log.emit("ended", step=len(self._results), **ending)
            self._log.sync()
        except UserError as error:
            liveness.print_ended(len(self._results), "halted", HALTED, str(error))
            return HALTED
        return int(ending["exit_code"])

    def _train(self) -> tuple[str, int]:
        """Run the queue, and return the reason of its end and the exit code."""
        settings = [self._resolve_settings(Job(cell, self._plan.seeds[0])) for cell in range(len(self._plan.cells))]
        self._launcher = create_launcher(self._plan.options, settings, self._study.path / self._plan.options.launcher)
        self._install_signal_handlers()  # again: Ray installs its own for SIGTERM
        self._load_earlier_runs()
        while True:
            self._handle_control_requests()
            self._collect_ended_runs()
            if not self._ending and not self._is_paused:
                self._start_runs()
            if not self._active and (self._ending or not self._pending):
                break
            self._emit_heartbeat()
            time.sleep(_POLL_INTERVAL)
        self._launcher.close()
        return self._ending or ("finished", 0)

    def _load_earlier_runs(self) -> None:
        """Load the results of earlier queues of this study, and adopt their runs that are still training."""
        self._study.relink_orphan_runs()
        has_new_result = True
        while has_new_result:  # the results of a rung decide what the next one trains
            self._pending = pending_jobs(self._plan, self._results)
            has_new_result = False
            for job in self._pending:
                run = self._study.find_run(job)
                if run is None or job in self._active:
                    continue
                if liveness.is_lock_held(run.lock_path):
                    with contextlib.suppress(UserError):
                        control.send_request(run.control_dir, "resume")  # it may have been left paused
                    self._active[job] = _ActiveRun(run, None, next(iter(self._free_slots()), None))
                elif (result := _load_result_or_failure(job, run)).outcome not in _RESUMABLE:
                    self._results[job] = result
                    has_new_result = True
        self._emit_progress(None)

    # --- runs -------------------------------------------------------------------------------------

    def _start_runs(self) -> None:
        """Start pending jobs while there are free slots."""
        waiting = (job for job in self._pending if job not in self._active)
        for slot, job in zip(self._free_slots(), waiting, strict=False):
            self._start_run(job, slot)

    def _free_slots(self) -> list[Slot]:
        free = list(self._launcher.slots)
        for active in self._active.values():
            if active.slot in free:
                free.remove(active.slot)
        return free

    def _start_run(self, job: Job, slot: Slot) -> None:
        try:
            run = self._study.find_run(job) or self._create_run(job)
            handle = self._launcher.start(run, slot)
        except UserError as error:
            self._record_result(failed_start(job, str(error)))
            return
        self._active[job] = _ActiveRun(run, handle, slot)
        self._emit_progress({"run": run.id, "state": "running", **self._describe_job(job)})

    def _create_run(self, job: Job) -> Run:
        """Create the run of a job: a new one, or a fork of the previous rung's run."""
        settings = self._resolve_settings(job)
        replaced = rung_settings(self._plan, settings, job.rung)
        stop_at = rung_stop_step(self._plan, settings, job.rung)
        entry = self._study.manifest_entry(job) | ({} if stop_at is None else {"stop_at": stop_at})
        previous = self._study.find_run(job._replace(rung=job.rung - 1)) if job.rung else None
        if previous is None:
            run = create_run(self._given_settings(job) | replaced, self._study.results, entry)
        else:
            run = fork_run(previous, replaced, entry)
        self._study.link_run(job, run)
        return run

    def _collect_ended_runs(self) -> None:
        for job, active in list(self._active.items()):
            if active.has_ended():
                del self._active[job]
                result = _load_result_or_failure(job, active.run)
                if not (self._ending and result.outcome in _RESUMABLE):
                    self._record_result(result)

    def _record_result(self, result: RunResult) -> None:
        self._results[result.job] = result
        self._pending = pending_jobs(self._plan, self._results)
        val_bpb = result.val_bpb if result.is_comparable else None
        seconds = None if math.isnan(result.train_seconds) else round(result.train_seconds, 3)
        values = {"val_bpb": val_bpb, "seconds": seconds, "detail": result.detail}
        self._emit_progress({"run": result.run, "state": result.outcome, **self._describe_job(result.job), **values})
        self._write_tables()

    def _write_tables(self) -> None:
        """Write the tables of the results so far, unless that was done recently."""
        started = time.monotonic()
        if started >= self._next_tables:
            with contextlib.suppress(UserError, OSError):  # written again with the next result and at the end
                tables.write_study_tables(self._study, self._plan, self._results)
            now = time.monotonic()
            self._next_tables = now + (now - started) / _TABLES_TIME_SHARE

    def _resolve_settings(self, job: Job) -> TrainSettings:
        return resolve(self._given_settings(job))

    def _given_settings(self, job: Job) -> dict[str, Any]:
        return self._plan.run_settings(self._plan.cells[job.cell], job.seed)

    # --- events and control requests --------------------------------------------------------------

    def _describe_job(self, job: Job) -> dict[str, Any]:
        return {"cell": self._plan.cells[job.cell].name, "seed": job.seed, "rung": job.rung}

    def _emit_progress(self, cell: dict[str, Any] | None) -> None:
        changed = {} if cell is None else {"cell": cell}
        self._log.emit("phase", phase="train", done=len(self._results), total=self._plan.total, **changed)

    def _emit_heartbeat(self) -> None:
        self._log.flush_if_due()
        if time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + _HEARTBEAT_INTERVAL
            self._log.require_file()
            self._log.emit("heartbeat", step=len(self._results))

    def _handle_control_requests(self) -> None:
        while request := self._inbox.next():
            if request.verb in ("pause", "resume"):
                self._is_paused = request.verb == "pause"
                self._request_of_runs(request.verb)
            elif request.verb == "stop":
                self._ending = self._ending or ("stopped", 0)
            outcome = "done" if request.verb in ("pause", "resume", "stop") else "not for a study"
            self._log.emit("control", request=request.name, verb=request.verb, outcome=outcome)
            self._inbox.done(request)
        if self._ending and not self._is_stopping:
            self._is_stopping = True
            self._request_of_runs("stop")  # they stop after a checkpoint, from which the next queue resumes them
            for active in self._active.values():
                if active.handle and not read_history(active.run).runs:
                    self._launcher.cancel(active.handle)

    def _request_of_runs(self, verb: str) -> None:
        for active in self._active.values():
            with contextlib.suppress(UserError):  # the run was deleted; it is recorded as crashed later
                control.send_request(active.run.control_dir, verb)

    def _install_signal_handlers(self) -> None:
        for number in _ENDINGS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)  # blocked by the launcher until handlers are installed

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._ending = self._ending or _ENDINGS[signal.Signals(number)]


def _load_result_or_failure(job: Job, run: Run) -> RunResult:
    """Load a run's result; a run that was deleted or damaged counts as crashed."""
    try:
        return load_result(job, run)
    except UserError as error:
        return failed_start(job, str(error))


def main(arguments: list[str]) -> int:
    """Run the queue of a study, and return the exit code."""
    path, lock, since = arguments
    study = Study(Path(path))
    try:
        require_lock(study, lock)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    faulthandler.enable()
    try:
        queue = StudyQueue(study, parse_numbered(since, "--since=") or 0)
    except (UserError, OSError) as error:
        liveness.print_ended(0, "crashed", 1, str(error))
        return 1
    return queue.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
