"""Reading of studies, in a thread: the list of all studies, and everything about the one that is open."""

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

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

RESUMABLE = ("stopped", "killed")  # outcomes after which an active queue resumes a run
_ANALYSIS_TIME_SHARE = 0.1  # at most this share of the time goes into analyses that the next result replaces
_MAX_BPB = 1e100  # larger values come from diverged runs, and their squares overflow


@dataclasses.dataclass(frozen=True, eq=False)
class StudyRow:
    """One study, as the list shows it."""

    study: Study
    watch: WatchedRun  # of its queue, whose directory has a run's format
    plan: Plan | None  # None if it cannot be read; `problem` has the reason
    state: str
    done: int
    total: int
    seconds_left: float | None
    created_at: float
    problem: str
    is_stopping: bool  # a stop was requested, and the active runs have not stopped yet

    @property
    def key(self) -> str:
        """The path of the study's directory."""
        return str(self.study.path)


@dataclasses.dataclass(frozen=True, eq=False)
class StudySnapshot:
    """Everything about one study. The base of `plan` may be another cell than the study's own base."""

    row: StudyRow
    plan: Plan
    analysis: Analysis
    results: Mapping[Job, RunResult]
    runs: Mapping[Job, Run]
    training: tuple[Job, ...]


class StudiesReader:
    """Reads what has changed since the last call. Use it from one thread at a time."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._tracked: dict[str, _TrackedStudy] = {}
        self._open: _OpenStudy | None = None

    def read(self, key: str = "", base: str = "") -> tuple[list[StudyRow], StudySnapshot | None]:
        """Return every study, newest first, and everything about the one with this key.

        The snapshot is None if no study has the key, or its plan cannot be read. `base` names the cell to compare
        with; empty for the study's own base.
        """
        rows = self._read_rows()
        row = next((row for row in rows if row.key == key and row.plan), None)
        if row is None:
            return rows, None
        if self._open is None or self._open.key != key:
            self._open = _OpenStudy(key)
        return rows, self._open.read(row, self._tracked[key].progress, base)

    def _read_rows(self) -> list[StudyRow]:
        try:
            studies = list_visible_studies(self._results)
        except UserError:  # the app reports it when it reads the runs; keep what is known
            studies = [tracked.study for tracked in reversed(self._tracked.values())]
        tracked, self._tracked = self._tracked, {}
        for study in reversed(studies):
            key = str(study.path)
            self._tracked[key] = tracked.get(key) or _TrackedStudy(study)
        return [one.read() for one in self._tracked.values()]


class _TrackedStudy:
    """A study of the list, and the events of its queue that have been read."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.watch = WatchedRun(study)
        self.progress = StudyProgress()
        self._created_at = study.created_at
        self._plan: Plan | None = None
        self._problem = ""
        self._is_stop_requested = False

    def read(self) -> StudyRow:
        self._read_plan()
        if self.watch.needs_poll():
            self._read_events()
        return StudyRow(
            study=self.study,
            watch=self.watch,
            plan=self._plan,
            state=self.watch.state,
            done=self.progress.done,
            total=self.progress.total or (self._plan.total if self._plan else 0),
            seconds_left=self.progress.estimate_seconds_left() if self.watch.state == "running" else None,
            created_at=self._created_at,
            problem=self._problem or self.watch.problem,
            is_stopping=self._is_stop_requested and self.watch.is_live,
        )

    def _read_plan(self) -> None:
        if self._plan is None:
            try:
                self._plan, self._problem = self.study.plan, ""
            except UserError as error:
                self._problem = str(error)

    def _read_events(self) -> None:
        history = self.watch.history
        events: list[Event] = self.watch.poll()
        if self.watch.history is not history:  # the log was read again from the start
            self.progress = StudyProgress()
        self.progress.apply(events)
        for event in events:
            if event["kind"] == "run":
                self._is_stop_requested = False
            elif event["kind"] == "control" and event["verb"] == "stop":
                self._is_stop_requested = True


class _OpenStudy:
    """The results of one study; each is read once, and again if its run's log has changed."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._results: dict[Job, RunResult] = {}
        self._runs: dict[Job, Run] = {}
        self._log_stamps: dict[Job, tuple[int, int]] = {}  # size and modification time of the log of each result
        self._analysis: tuple[Plan, Analysis] | None = None
        self._is_analysis_outdated = True
        self._next_analysis = 0.0

    def read(self, row: StudyRow, progress: StudyProgress, base: str) -> StudySnapshot:
        assert row.plan
        plan = dataclasses.replace(row.plan, base=base) if base else row.plan
        training = self._read_runs(row, progress)
        self._update_analysis(plan, row.watch.is_live)
        assert self._analysis
        plan, analysis = self._analysis
        return StudySnapshot(row, plan, analysis, dict(self._results), dict(self._runs), tuple(training))

    def _update_analysis(self, plan: Plan, is_live: bool) -> None:
        has_new_base = self._analysis is None or self._analysis[0].base != plan.base
        started = time.monotonic()
        if has_new_base or (self._is_analysis_outdated and (not is_live or started >= self._next_analysis)):
            self._analysis = plan, _analyse_plausible(plan, self._results)
            self._is_analysis_outdated = False
            now = time.monotonic()
            self._next_analysis = now + (now - started) / _ANALYSIS_TIME_SHARE

    def _read_runs(self, row: StudyRow, progress: StudyProgress) -> list[Job]:
        """Load the results of runs that have ended, and return the jobs that are training."""
        assert row.plan
        training = []
        for job in all_jobs(row.plan):
            run = row.study.find_run(job)
            if run is None:  # not created yet, or deleted
                self._drop_result(job)
                self._runs.pop(job, None)
                continue
            self._runs[job] = Run(row.study.results / "runs" / run.id)  # the path without links, as elsewhere
            if liveness.is_lock_held(run.lock_path):
                training.append(job)
                self._drop_result(job)  # it may have been stopped and resumed
            else:
                self._load_result(job, run, row, progress)
        return training

    def _load_result(self, job: Job, run: Run, row: StudyRow, progress: StudyProgress) -> None:
        with contextlib.suppress(UserError, OSError):
            status = run.events_path.stat()
            stamp = status.st_size, status.st_mtime_ns
            if self._log_stamps.get(job) == stamp and job in self._results:
                return
            result = load_result(job, run)
            if result.outcome in RESUMABLE and _will_be_resumed(job, result, row, progress):
                self._drop_result(job)
                return
            self._results[job], self._log_stamps[job] = result, stamp
            self._is_analysis_outdated = True

    def _drop_result(self, job: Job) -> None:
        self._is_analysis_outdated |= self._results.pop(job, None) is not None


def _will_be_resumed(job: Job, result: RunResult, row: StudyRow, progress: StudyProgress) -> bool:
    """Return whether the active queue has not recorded this outcome, so that it is going to resume the run."""
    assert row.plan
    status = progress.statuses.get((row.plan.cells[job.cell].name, job.seed, job.rung))
    return row.watch.is_live and (status is None or status.state != result.outcome)


def _analyse_plausible(plan: Plan, results: Mapping[Job, RunResult]) -> Analysis:
    """Analyse the results; without those whose squares overflow if there are any."""
    try:
        return analyse(plan, results)
    except ArithmeticError:
        plausible = {job: result for job, result in results.items() if abs(result.val_bpb or 0.0) < _MAX_BPB}
        return analyse(plan, plausible)
