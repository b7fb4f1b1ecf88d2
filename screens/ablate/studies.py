"""What is read of studies, in a thread: the list of all, and everything of the one that is open."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

from engines.ablation.analysis import Analysis, analyse
from engines.ablation.plan import Job, Plan
from engines.ablation.progress import StudyProgress
from engines.ablation.results import RunResult, load_result
from engines.ablation.schedule import all_jobs
from engines.ablation.study import Study, list_visible_studies
from engines.errors import UserError
from engines.events import Event
from engines.runs import liveness
from engines.runs.store import Run
from engines.runs.watch import WatchedRun

_ANALYSING_SHARE = 0.1  # of the time may go into judging what the next result makes old
_LARGE = 1e100  # bits per byte: of a run that has diverged, whatever it says
GOES_ON = ("stopped", "killed")  # endings after which a living queue lets a run go on


@dataclasses.dataclass(frozen=True, eq=False)
class StudyRow:
    """One study as the list tells of it."""

    study: Study
    watch: WatchedRun  # of its queue, whose directory is like a run's
    plan: Plan | None  # None where `problem` says why
    state: str
    done: int
    total: int
    seconds_left: float | None
    created_at: float
    problem: str
    is_cancelled: bool  # while it lives: what trains is being stopped

    @property
    def key(self) -> str:
        return str(self.study.path)


class _Known:
    """A study, as far as it has been read."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.watch = WatchedRun(study)
        self.progress = StudyProgress()
        self._created_at = study.created_at
        self._plan: Plan | None = None
        self._problem = ""
        self._is_cancelled = False

    def read(self) -> StudyRow:
        if self._plan is None:
            try:
                self._plan, self._problem = self.study.plan, ""
            except UserError as error:
                self._problem = str(error)
        if self.watch.needs_poll():
            history = self.watch.history
            found = self.watch.poll()
            if self.watch.history is not history:
                self.progress = StudyProgress()  # the log is read anew
            self.progress.apply(found)
            self._note_cancelling(found)
        moves = self.watch.state == "running"
        return StudyRow(
            study=self.study,
            watch=self.watch,
            plan=self._plan,
            state=self.watch.state,
            done=self.progress.done,
            total=self.progress.total or (self._plan.total if self._plan else 0),
            seconds_left=self.progress.estimate_seconds_left() if moves else None,
            created_at=self._created_at,
            problem=self._problem or self.watch.problem,
            is_cancelled=self._is_cancelled and self.watch.is_live,
        )

    def _note_cancelling(self, events: Iterable[Event]) -> None:
        for event in events:
            if event["kind"] == "run":
                self._is_cancelled = False
            elif event["kind"] == "control" and event["verb"] == "stop":
                self._is_cancelled = True


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """All of one study. `plan` has the base that cells are compared with, which may be another than the study's own."""

    row: StudyRow
    plan: Plan
    analysis: Analysis
    results: Mapping[Job, RunResult]
    runs: Mapping[Job, Run]
    training: tuple[Job, ...]


class StudiesReader:
    """Reads what is new since it last looked. One thread at a time."""

    def __init__(self, results: Any) -> None:
        self._results = results
        self._known: dict[str, _Known] = {}
        self._open: _Open | None = None

    def read(self) -> list[StudyRow]:
        """Every study, newest first."""
        try:
            studies = list_visible_studies(self._results)
        except UserError:  # the app says so of its runs; what is known stays
            studies = [known.study for known in reversed(self._known.values())]
        known, self._known = self._known, {}
        for study in reversed(studies):
            key = str(study.path)
            self._known[key] = known.get(key) or _Known(study)
        return [one.read() for one in self._known.values()]

    def read_whole(self, key: str, base: str, rows: Iterable[StudyRow]) -> Reading | None:
        """The study of that key, judged against the cell `base`, or its own where that is empty; None if it is gone."""
        row = next((row for row in rows if row.key == key and row.plan), None)
        if row is None:
            return None
        if self._open is None or self._open.key != key:
            self._open = _Open(key)
        return self._open.read(row, self._known[key].progress, base)


def _analysis(plan: Plan, results: Mapping[Job, RunResult]) -> Analysis:
    """Without runs that came to figures so large that their squares are none, where there are such."""
    try:
        return analyse(plan, results)
    except ArithmeticError:
        return analyse(plan, {job: result for job, result in results.items() if abs(result.val_bpb or 0.0) < _LARGE})


class _Open:
    """The results of one study, each read once."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._results: dict[Job, RunResult] = {}
        self._runs: dict[Job, Run] = {}
        self._seen: dict[Job, tuple[int, int]] = {}  # size and time of change of the log that a result is of
        self._analysis: tuple[Plan, Analysis] | None = None
        self._is_stale = True
        self._next_analysis = 0.0

    def read(self, row: StudyRow, progress: StudyProgress, base: str) -> Reading:
        assert row.plan
        plan = dataclasses.replace(row.plan, base=base) if base else row.plan
        training = self._look_at_runs(row, progress)
        self._judge(plan, row.watch.is_live)
        assert self._analysis
        plan, analysis = self._analysis
        return Reading(row, plan, analysis, dict(self._results), dict(self._runs), tuple(training))

    def _judge(self, plan: Plan, is_live: bool) -> None:
        is_other = self._analysis is None or self._analysis[0].base != plan.base
        started = time.monotonic()
        if is_other or (self._is_stale and (not is_live or started >= self._next_analysis)):
            self._analysis = plan, _analysis(plan, self._results)
            self._is_stale = False
            now = time.monotonic()
            self._next_analysis = now + (now - started) / _ANALYSING_SHARE

    def _look_at_runs(self, row: StudyRow, progress: StudyProgress) -> list[Job]:
        """Take up results of runs that have ended; gives back which are in training."""
        assert row.plan
        training = []
        for job in all_jobs(row.plan):
            run = row.study.find_run(job)
            if run is None:  # somebody deleted it
                self._forget(job)
                self._runs.pop(job, None)
                continue
            self._runs[job] = Run(row.study.results / "runs" / run.id)  # as everybody else calls it, links or not
            if liveness.is_lock_held(run.lock_path):
                training.append(job)
                self._forget(job)  # it may have been stopped before
            else:
                self._take(job, run, row, progress)
        return training

    def _take(self, job: Job, run: Run, row: StudyRow, progress: StudyProgress) -> None:
        with contextlib.suppress(UserError, OSError):
            status = run.events_path.stat()
            seen = status.st_size, status.st_mtime_ns
            if self._seen.get(job) == seen and job in self._results:
                return
            result = load_result(job, run)
            assert row.plan
            told = progress.statuses.get((row.plan.cells[job.cell].name, job.seed, job.rung))
            if row.watch.is_live and result.outcome in GOES_ON and (told is None or told.state != result.outcome):
                self._forget(job)
                return
            self._results[job], self._seen[job] = result, seen
            self._is_stale = True

    def _forget(self, job: Job) -> None:
        self._is_stale |= self._results.pop(job, None) is not None
