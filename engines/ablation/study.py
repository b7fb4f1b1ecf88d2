"""A study's directory: a run's, with a plan for a manifest, and links to the runs that are its cells."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engines.ablation.plan import SCHEMA, Job, Plan, plan_from_json
from engines.ablation.results import Result, result_of
from engines.ablation.schedule import every_job
from engines.errors import UserError
from engines.events import NUMBER, holds
from engines.files import reason_of, user_path
from engines.numbered_names import parse_numbered
from engines.runs import liveness, manifest
from engines.runs.checked_json import read_checked_json, write_checked_json
from engines.runs.history import History
from engines.runs.launch import launch
from engines.runs.lookup import all_runs, folders_in, remembered, require_name
from engines.runs.own_runs import remove_run
from engines.runs.snapshot import damage_sentences
from engines.runs.store import Run

_QUEUE = "engines.ablation.queue"
_NAME_LENGTH = 60  # of a link; many axes make long names
MANIFEST_KEY = "study"  # in a run's manifest: the study and the job that it belongs to


class Study(Run):
    """The paths of one study. Lock, events, control and log are a run's, so all that watches a run can watch it."""

    @property
    def config_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def lock_path(self) -> Path:
        return self.path / "lock"

    @property
    def log_path(self) -> Path:
        return self.path / "queue.log"

    @property
    def links_dir(self) -> Path:
        return self.path / "runs"

    def read_config(self, verified: int | None = None) -> dict[str, Any]:
        """Read the plan as it is written, with when and with which code it was made."""
        try:
            config = read_checked_json(self.config_path, verified)
        except (OSError, ValueError):
            raise UserError(f"study {self.id} has no readable plan.json in {self.path}.") from None
        if not isinstance(config, dict) or config.get("v") != SCHEMA:
            raise UserError(f"study {self.id} was written by another version of nanochat-tui.")
        if not holds(config, {"created_at": NUMBER}):
            raise UserError(f"study {self.id} cannot be read: {self.config_path} is damaged.")
        return config

    @property
    def plan(self) -> Plan:
        try:
            return plan_from_json(self.config)
        except (KeyError, TypeError):
            raise UserError(f"{self.config_path} is damaged; the study cannot be read.") from None

    def run_of(self, job: Job) -> Run | None:
        """The run of a job, if it was made and is still there."""
        path = self._link(job).resolve()
        return Run(path) if path.is_dir() else None

    def link(self, job: Job, run: Run) -> None:
        """Note which run is a job's. The link is relative: the results directory may be moved."""
        link = self._link(job)
        link.unlink(missing_ok=True)  # to a run that was deleted
        link.symlink_to(os.path.relpath(run.path, self.links_dir))

    def mark(self, job: Job) -> dict[str, Any]:
        """What the run's manifest says of this."""
        return {MANIFEST_KEY: {"id": self.id, **job._asdict()}}

    def adopt_strays(self) -> None:
        """Link runs that a queue made just before it was killed; one that goes on from another may be half a copy."""
        linked = {path.resolve() for path in self.links_dir.iterdir()}
        for run in all_runs(self.results):
            with contextlib.suppress(UserError, TypeError):
                mark = run.config.get(MANIFEST_KEY)
                if mark and run.path.resolve() not in linked and mark.pop("id") == self.id:
                    if "parent" in run.config:
                        remove_run(run)
                    else:
                        self.link(Job(**mark), run)

    def _link(self, job: Job) -> Path:
        name = f"{job.cell:04d}.seed-{job.seed}" + (f".rung-{job.rung}" if job.rung else "")
        return self.links_dir / name


def create_study(results: Path, plan: Plan) -> Study:
    """Create a study without starting it. Raises UserError, and leaves nothing behind, if that fails."""
    studies = results / "studies"
    try:
        studies.mkdir(parents=True, exist_ok=True)
        study = Study(_claim_name(studies))
        try:
            _write_study(study, plan)
        except BaseException:
            shutil.rmtree(study.path, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(
            f"no study can be created in {studies}: {reason_of(error)}. Choose another directory with --results-dir."
        ) from None
    return study


def _write_study(study: Study, plan: Plan) -> None:
    """Write the files of a study, the plan last: a directory without a plan is not a study."""
    study.control_dir.mkdir()
    study.links_dir.mkdir()
    study.events_path.touch()
    content = {"v": SCHEMA, "study": study.id, "created_at": time.time(), "code": manifest.code(), **plan.to_json()}
    write_checked_json(study.config_path, content)


def start(study: Study) -> subprocess.Popen[bytes]:
    """Start the queue of a new, stopped or dead study. UserError if it lives already."""
    return launch(study, _QUEUE)


def all_studies(results: Path) -> list[Study]:
    """Return every study under one results directory, oldest first. One that lost its plan is among them."""
    files = ("plan.json", "events.jsonl")
    paths = [path for path in folders_in(results / "studies") if any(os.path.lexists(path / name) for name in files)]
    return sorted(map(Study, paths), key=lambda study: (study.created_at, study.id))


def studies_in_view(results: Path) -> list[Study]:
    """The studies of one results directory; where it has none, those of every remembered one."""
    return all_studies(results) or [study for root in remembered() for study in all_studies(root)]


def find_study(wanted: str, results: Path) -> Study:
    """The study of that id, path, or the `last` one; here first, then where there were studies before."""
    return _find(wanted, results, remembered())


def find_own_study(wanted: str, results: Path) -> Study:
    """Find a study as `find_study` does, but only in this results directory: for commands that change a study."""
    return _find(wanted, results, [])


def _find(wanted: str, results: Path, others: Sequence[Path]) -> Study:
    require_name(wanted, "study")
    if os.sep in wanted and (path := user_path(wanted, "study") / "plan.json").exists():
        return Study(path.parent)
    for root in dict.fromkeys([results, *others]):
        studies = all_studies(root)
        if studies and wanted == "last":
            return studies[-1]
        for study in studies:
            if study.id == wanted:
                return study
    raise UserError(f"there is no study {wanted!r} in {results}; `nanochat-tui --no-ui studies` lists them.")


def _claim_name(studies: Path) -> Path:
    """The next number."""
    taken = [number for path in studies.iterdir() if (number := parse_numbered(path.name, "study-")) is not None]
    number = max(taken, default=0) + 1
    while True:
        path = studies / f"study-{number}"
        with contextlib.suppress(FileExistsError):  # somebody else was quicker
            path.mkdir()
            return path
        number += 1


def study_damages(study: Study, history: History, results: Iterable[Result]) -> list[str]:
    """Return a sentence for the study and for each of its runs whose log could not be read completely."""
    runs = [f"run {result.run} of {study.id}: {result.damage}" for result in results if result.damage]
    return [*damage_sentences(study, history, "study"), *runs]


def results_so_far(study: Study, plan: Plan) -> dict[Job, Result]:
    """What the runs have come to that are not live, read from their directories."""
    results: dict[Job, Result] = {}
    for job in every_job(plan):
        run = study.run_of(job)
        if run is not None and not liveness.lock_is_held(run.lock_path):
            with contextlib.suppress(UserError):
                results[job] = result_of(job, run)
    return results
