"""The process behind a study: `python -m engines.ablation.queue STUDY --lock=FD --since=NS`, started by `study.start`.

It holds the study's lock, trains the cells as ordinary runs, some at once, and reports as a run does: its phase `train`
counts the runs, and `cell` of such an event tells which one changed. What is done is read from the runs, so that it can
be killed anywhere; runs that outlive it are waited for by the next.
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
from engines.ablation.launchers import Handle, Launcher, new_launcher
from engines.ablation.plan import Job
from engines.ablation.results import Result, not_started, result_of
from engines.ablation.schedule import settings_of_rung, stop_of_rung, wanted
from engines.ablation.slots import Place
from engines.ablation.study import Study
from engines.errors import UserError
from engines.numbered_names import parse_numbered
from engines.runs import control, liveness
from engines.runs.control import Inbox
from engines.runs.history import read_history, read_resumable
from engines.runs.locking import require_lock
from engines.runs.log import EventLog
from engines.runs.store import Run
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.training.fork import fork_run
from engines.training.new_run import new_run

_POLL_INTERVAL = 0.02  # seconds between looks at runs and requests
_HEARTBEAT_INTERVAL = 2.0
_WRITING_SHARE = 0.05  # of the time may go into writing tables that the next result makes old
_UNWRITABLE = 3  # exit code of a study whose event log cannot be written
_ENDINGS = {signal.SIGTERM: ("terminated", 143), signal.SIGINT: ("interrupted", 130)}
_TO_GO_ON = ("stopped", "killed")  # endings after which a run is not done yet


class _Live(NamedTuple):
    """A run in training. `handle` is None for one that an earlier queue started."""

    run: Run
    handle: Handle | None
    place: Place

    def is_over(self) -> bool:
        return self.handle.poll() is not None if self.handle else not liveness.lock_is_held(self.run.lock_path)


class Queue:
    """One process's work on one study."""

    def __init__(self, study: Study, since_ns: int) -> None:
        self._study = study
        self._plan = study.plan
        self._inbox = Inbox(study.control_dir, since_ns)
        self._starts = len(read_resumable(study).runs)
        self._log = EventLog(study.events_path, study.created_at)
        self._launcher: Launcher
        self._live: dict[Job, _Live] = {}
        self._results: dict[Job, Result] = {}
        self._wanted: list[Job] = []  # as far as the results decide it
        self._paused = False
        self._ending: tuple[str, int] | None = None
        self._is_stopping = False
        self._next_heartbeat = 0.0
        self._next_tables = 0.0

    def main(self) -> int:
        """Work until the study is done or asked to end; returns the exit code."""
        self._listen()
        ending: dict[str, Any] = {"detail": None, "traceback": None}
        try:
            self._log.emit("run", pid=os.getpid(), host=os.uname().nodename, start=self._starts + 1)
            reason, code = self._work()
            ending |= {
                "reason": reason,
                "exit_code": code,
                "tables": tables.write(self._study, self._plan, self._results),
            }
        except UserError as error:
            ending |= {"reason": "crashed", "exit_code": 1, "detail": str(error)}
        except OSError as error:
            detail = f"{error.filename or self._study.path} cannot be written or read ({error.strerror})."
            ending |= {"reason": "crashed", "exit_code": 1, "detail": detail}
        except Exception as error:
            ending |= {"reason": "crashed", "exit_code": 5, "detail": f"{type(error).__name__}: {error}"}
            ending |= {"traceback": traceback.format_exc()}
        return self._end(ending)

    def _end(self, ending: dict[str, Any]) -> int:
        """Record how the study ended, and return the exit code."""
        try:
            self._log.emit("ended", step=len(self._results), **ending)
            self._log.sync()
        except UserError as error:
            liveness.print_ended(len(self._results), "halted", _UNWRITABLE, str(error))
            return _UNWRITABLE
        return int(ending["exit_code"])

    def _work(self) -> tuple[str, int]:
        settings = [self._settings(Job(cell, self._plan.seeds[0])) for cell in range(len(self._plan.cells))]
        self._launcher = new_launcher(self._plan.options, settings, self._study.path / self._plan.options.launcher)
        self._listen()  # again: Ray takes SIGTERM for itself
        self._take_stock()
        while True:
            self._obey()
            self._reap()
            if not self._ending and not self._paused:
                self._fill()
            if not self._live and (self._ending or not self._wanted):
                break
            self._beat()
            time.sleep(_POLL_INTERVAL)
        self._launcher.close()
        return self._ending or ("finished", 0)

    def _take_stock(self) -> None:
        """What earlier queues of this study have done or left running."""
        self._study.adopt_strays()
        found = True
        while found:  # a rung that is done decides what the next one is
            self._wanted = wanted(self._plan, self._results)
            found = False
            for job in self._wanted:
                run = self._study.run_of(job)
                if run is None or job in self._live:
                    continue
                if liveness.lock_is_held(run.lock_path):
                    with contextlib.suppress(UserError):
                        control.request(run.control_dir, "resume")  # it may have been left paused
                    self._live[job] = _Live(run, None, next(iter(self._free()), None))
                elif (result := self._look_at(job, run)).outcome not in _TO_GO_ON:
                    self._results[job] = result
                    found = True
        self._report(None)

    # --- runs -------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start runs while there are places for them."""
        waiting = (job for job in self._wanted if job not in self._live)
        for place, job in zip(self._free(), waiting, strict=False):
            self._start(job, place)

    def _free(self) -> list[Place]:
        """Places where nothing trains."""
        free = list(self._launcher.places)
        for live in self._live.values():
            if live.place in free:
                free.remove(live.place)
        return free

    def _start(self, job: Job, place: Place) -> None:
        try:
            run = self._study.run_of(job) or self._make(job)
            handle = self._launcher.start(run, place)
        except UserError as error:
            self._note(not_started(job, str(error)))
            return
        self._live[job] = _Live(run, handle, place)
        self._report({"run": run.id, "state": "running", **self._words(job)})

    def _make(self, job: Job) -> Run:
        """The run of a job: new, or the one of the rung before, going on."""
        settings = self._settings(job)
        asked = settings_of_rung(self._plan, settings, job.rung)
        stop_at = stop_of_rung(self._plan, settings, job.rung)
        mark = self._study.mark(job) | ({} if stop_at is None else {"stop_at": stop_at})
        before = self._study.run_of(job._replace(rung=job.rung - 1)) if job.rung else None
        if before is None:
            run = new_run(self._given(job) | asked, self._study.results, mark)
        else:
            run = fork_run(before, asked, mark)
        self._study.link(job, run)
        return run

    def _reap(self) -> None:
        for job, live in list(self._live.items()):
            if live.is_over():
                del self._live[job]
                result = self._look_at(job, live.run)
                if not (self._ending and result.outcome in _TO_GO_ON):
                    self._note(result)

    def _look_at(self, job: Job, run: Run) -> Result:
        try:
            return result_of(job, run)
        except UserError as error:  # somebody deleted or broke it
            return not_started(job, str(error))

    def _note(self, result: Result) -> None:
        self._results[result.job] = result
        self._wanted = wanted(self._plan, self._results)
        val_bpb = result.val_bpb if result.is_comparable else None
        seconds = None if math.isnan(result.train_seconds) else round(result.train_seconds, 3)
        figures = {"val_bpb": val_bpb, "seconds": seconds, "detail": result.detail}
        self._report({"run": result.run, "state": result.outcome, **self._words(result.job), **figures})
        started = time.monotonic()
        if started >= self._next_tables:
            with contextlib.suppress(UserError, OSError):  # the next result and the end of the study write them again
                tables.write_tables(self._study, self._plan, self._results)
            now = time.monotonic()
            self._next_tables = now + (now - started) / _WRITING_SHARE

    def _settings(self, job: Job) -> TrainSettings:
        return resolve(self._given(job))

    def _given(self, job: Job) -> dict[str, Any]:
        return self._plan.given_of(self._plan.cells[job.cell], job.seed)

    # --- reporting and being asked -------------------------------------------------------------------

    def _words(self, job: Job) -> dict[str, Any]:
        return {"cell": self._plan.cells[job.cell].name, "seed": job.seed, "rung": job.rung}

    def _report(self, cell: dict[str, Any] | None) -> None:
        told = {} if cell is None else {"cell": cell}
        self._log.emit("phase", phase="train", done=len(self._results), total=self._plan.total, **told)

    def _beat(self) -> None:
        self._log.flush_if_due()
        if time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + _HEARTBEAT_INTERVAL
            self._log.require_file()
            self._log.emit("heartbeat", step=len(self._results))

    def _obey(self) -> None:
        while request := self._inbox.next():
            if request.verb in ("pause", "resume"):
                self._paused = request.verb == "pause"
                self._ask_runs(request.verb)
            elif request.verb == "stop":
                self._ending = self._ending or ("stopped", 0)
            outcome = "done" if request.verb in ("pause", "resume", "stop") else "not for a study"
            self._log.emit("control", request=request.name, verb=request.verb, outcome=outcome)
            self._inbox.done(request)
        if self._ending and not self._is_stopping:
            self._is_stopping = True
            self._ask_runs("stop")  # they end after a checkpoint, from which the next queue lets them go on
            for live in self._live.values():
                if live.handle and not read_history(live.run).runs:
                    self._launcher.withdraw(live.handle)

    def _ask_runs(self, verb: str) -> None:
        for live in self._live.values():
            with contextlib.suppress(UserError):  # the run was deleted: it is reported as broken later
                control.request(live.run.control_dir, verb)

    def _listen(self) -> None:
        for number in _ENDINGS:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)  # blocked by the launcher until handlers are installed

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._ending = self._ending or _ENDINGS[signal.Signals(number)]


def main(arguments: list[str]) -> int:
    path, lock, since = arguments
    study = Study(Path(path))
    try:
        require_lock(study, lock)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    faulthandler.enable()
    try:
        queue = Queue(study, parse_numbered(since, "--since=") or 0)
    except (UserError, OSError) as error:
        liveness.print_ended(0, "crashed", 1, str(error))
        return 1
    return queue.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
