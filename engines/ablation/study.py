"""A study's directory: like a run's, with a plan instead of a manifest, and links to its runs."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.ablation.plan import SCHEMA, Job, Plan, plan_from_json
from engines.ablation.results import RunResult, load_result
from engines.ablation.schedule import all_jobs
from engines.errors import UserError
from engines.events import NUMBER, has_fields
from engines.files import format_os_error, user_path
from engines.numbered_names import parse_numbered
from engines.runs import liveness, manifest
from engines.runs.checked_json import read_checked_json, write_checked_json
from engines.runs.history import History
from engines.runs.launch import launch
from engines.runs.lookup import list_folders, list_runs, list_used_results_dirs, require_name
from engines.runs.own_runs import delete_run
from engines.runs.snapshot import describe_damage
from engines.runs.store import Run

_QUEUE = "engines.ablation.queue"
MANIFEST_KEY = "study"  # in a run's manifest: the study and the job it belongs to


class Study(Run):
    """The paths of one study. Lock, events, control files and log have a run's format, so code that watches a run can
    watch a study."""

    @property
    def config_path(self) -> Path:
        """The plan, which takes the place of a run's manifest."""
        return self.path / "plan.json"

    @property
    def lock_path(self) -> Path:
        """Locked while the queue is running."""
        return self.path / "lock"

    @property
    def log_path(self) -> Path:
        """Output of the queue process."""
        return self.path / "queue.log"

    @property
    def links_dir(self) -> Path:
        """Links to the runs, one per job."""
        return self.path / "runs"

    def read_config(self, verified: int | None = None) -> dict[str, Any]:
        """Read plan.json: the plan, when it was made and by which code. Raises UserError if it cannot be read."""
        try:
            config = read_checked_json(self.config_path, verified)
        except (OSError, ValueError):
            raise UserError(f"study {self.id} cannot be read: no readable plan.json in {self.path}.") from None
        if not isinstance(config, dict) or config.get("v") != SCHEMA:
            raise UserError(f"study {self.id} cannot be read: it was written by another version of nanochat-tui.")
        if not has_fields(config, {"created_at": NUMBER}):
            raise UserError(f"study {self.id} cannot be read: {self.config_path} is damaged.")
        return config

    @property
    def plan(self) -> Plan:
        """The plan. Raises UserError if it cannot be read."""
        try:
            return plan_from_json(self.config)
        except (KeyError, TypeError):
            raise UserError(f"study {self.id} cannot be read: {self.config_path} is damaged.") from None

    def find_run(self, job: Job) -> Run | None:
        """Return the run of a job, or None if it was not created or was deleted."""
        path = self._link_path(job).resolve()
        return Run(path) if path.is_dir() else None

    def link_run(self, job: Job, run: Run) -> None:
        """Record which run belongs to a job. The link is relative, so the results directory can be moved."""
        link = self._link_path(job)
        link.unlink(missing_ok=True)  # it may point to a deleted run
        link.symlink_to(os.path.relpath(run.path, self.links_dir))

    def manifest_entry(self, job: Job) -> dict[str, Any]:
        """Return the entry in a run's manifest that names this study and the job."""
        return {MANIFEST_KEY: {"id": self.id, **job._asdict()}}

    def relink_orphan_runs(self) -> None:
        """Link the runs that a queue created just before it was killed, and remove copies that may be incomplete."""
        linked = {path.resolve() for path in self.links_dir.iterdir()}
        for run in list_runs(self.results):
            with contextlib.suppress(UserError, TypeError):
                entry = run.config.get(MANIFEST_KEY)
                if entry and run.path.resolve() not in linked and entry.pop("id") == self.id:
                    if "parent" in run.config:  # it was being copied from the previous rung's run
                        delete_run(run)
                    else:
                        self.link_run(Job(**entry), run)

    def _link_path(self, job: Job) -> Path:
        name = f"{job.cell:04d}.seed-{job.seed}" + (f".rung-{job.rung}" if job.rung else "")
        return self.links_dir / name


def create_study(results: Path, plan: Plan, origin: Mapping[str, Any] | None = None) -> Study:
    """Create a study without starting it. Raises UserError, and leaves nothing behind, if that fails.

    `origin` is added to plan.json: the preset that settings of the base come from.
    """
    studies = results / "studies"
    try:
        studies.mkdir(parents=True, exist_ok=True)
        study = Study(_claim_name(studies))
        try:
            _write_study(study, plan, origin or {})
        except BaseException:
            shutil.rmtree(study.path, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(
            f"cannot create a study in {studies}: {format_os_error(error)}. "
            "Choose another directory with --results-dir."
        ) from None
    return study


def _write_study(study: Study, plan: Plan, origin: Mapping[str, Any]) -> None:
    """Write the files of a study, the plan last: a directory without a plan is not a study."""
    study.control_dir.mkdir()
    study.links_dir.mkdir()
    study.events_path.touch()
    content = {
        "v": SCHEMA,
        "study": study.id,
        "created_at": time.time(),
        "code": manifest.describe_code(),
        **plan.to_json(),
        **origin,
    }
    write_checked_json(study.config_path, content)


def start_queue(study: Study) -> subprocess.Popen[bytes]:
    """Start the queue of a study. Raises UserError if it is already running."""
    return launch(study, _QUEUE)


def list_studies(results: Path) -> list[Study]:
    """Return every study in a results directory, oldest first, including those without a readable plan."""
    files = ("plan.json", "events.jsonl")
    paths = [path for path in list_folders(results / "studies") if any(os.path.lexists(path / name) for name in files)]
    return sorted(map(Study, paths), key=lambda study: (study.created_at, study.id))


def list_visible_studies(results: Path) -> list[Study]:
    """Return the studies of a results directory, or of every remembered results directory if it has none."""
    return list_studies(results) or [study for root in list_used_results_dirs() for study in list_studies(root)]


def find_study(name: str, results: Path) -> Study:
    """Find a study by id, path or `last`, in this results directory first and then in remembered ones.

    Raises UserError if there is none.
    """
    return _find(name, results, list_used_results_dirs())


def find_own_study(name: str, results: Path) -> Study:
    """Find a study as `find_study` does, but only in this results directory, for commands that change a study."""
    return _find(name, results, [])


def _find(name: str, results: Path, others: Sequence[Path]) -> Study:
    require_name(name, "study")
    if os.sep in name and (path := user_path(name, "study") / "plan.json").exists():
        return Study(path.parent)
    for root in dict.fromkeys([results, *others]):
        studies = list_studies(root)
        if studies and name == "last":
            return studies[-1]
        for study in studies:
            if study.id == name:
                return study
    raise UserError(f"study {name!r} not found in {results}. List the studies with: nanochat-tui --no-ui studies")


def _claim_name(studies: Path) -> Path:
    """Create the directory of the next free number."""
    taken = [number for path in studies.iterdir() if (number := parse_numbered(path.name, "study-")) is not None]
    number = max(taken, default=0) + 1
    while True:
        path = studies / f"study-{number}"
        with contextlib.suppress(FileExistsError):  # another process created it first
            path.mkdir()
            return path
        number += 1


def describe_study_damage(study: Study, history: History, results: Iterable[RunResult]) -> list[str]:
    """Return a sentence for the study and for each of its runs whose log could not be read completely."""
    runs = [f"run {result.run} of {study.id}: {result.damage}" for result in results if result.damage]
    return [*describe_damage(study, history, "study"), *runs]


def load_results(study: Study, plan: Plan) -> dict[Job, RunResult]:
    """Load the results of all runs that are not running, from their directories."""
    results: dict[Job, RunResult] = {}
    for job in all_jobs(plan):
        run = study.find_run(job)
        if run is not None and not liveness.is_lock_held(run.lock_path):
            with contextlib.suppress(UserError):
                results[job] = load_result(job, run)
    return results
