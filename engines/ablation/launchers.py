"""Launchers of a study's runs: this machine, Slurm or a Ray cluster.

Scheduling on a cluster is left to submitit and Ray. They only need a results directory that all machines share.
"""

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from engines.ablation.settings import StudySettings
from engines.ablation.slots import VISIBLE_DEVICES, Slot, allocate_slots, needs_gpu
from engines.ablation.worker_pool import WorkerPool, are_short_runs
from engines.errors import UserError
from engines.runs import liveness
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.system.subprocesses import python_path

_PACKAGES = {"slurm": "submitit", "ray": "ray"}
_CLUSTER_SLOTS = 64  # runs submitted at once to a cluster, which has a queue of its own; a guess
_ENDED = ("finished", "halted", "crashed")


class Handle(Protocol):
    """A started run."""

    def poll(self) -> int | None:
        """Return None while the run is waiting or running."""


class Launcher(Protocol):
    """Starts runs; `slots` has one entry per run that may be active at the same time."""

    slots: list[Slot]

    def start(self, run: Run, slot: Slot) -> Handle: ...

    def cancel(self, handle: Any) -> None:
        """Remove a run that has not begun from the cluster's queue."""

    def close(self) -> None:
        """Release the launcher's processes; no run is started afterwards."""


def create_launcher(study: StudySettings, settings: Sequence[TrainSettings], folder: Path) -> Launcher:
    """Create the launcher that `study` names, for cells with these settings. `folder` receives its files.

    Raises UserError if the launcher's package fails to start.
    """
    if study.launcher == "local":
        shares_processes = are_short_runs(settings) if study.one_process == AUTO else bool(study.one_process)
        return _LocalLauncher(allocate_slots(settings, study.jobs), WorkerPool() if shares_processes else None)
    slots: list[Slot] = [None] * (_CLUSTER_SLOTS if study.jobs == AUTO else study.jobs)
    options = parse_options(study.launcher_options)
    try:
        if study.launcher == "slurm":
            return _SlurmLauncher(slots, folder, options)
        return _RayLauncher(slots, {"num_gpus": int(any(map(needs_gpu, settings))), **options})
    except Exception as error:  # these packages raise anything: no cluster found, an unknown option
        raise UserError(f"--launcher {study.launcher} cannot start: {error}") from error


def find_launcher_problems(study: StudySettings) -> list[str]:
    """Return a sentence for each reason why this launcher cannot be used on this machine."""
    package = _PACKAGES.get(study.launcher)
    problems = []
    if package and importlib.util.find_spec(package) is None:
        problems.append(
            f"--launcher {study.launcher} needs the package {package}, which is not installed. "
            f"Install it with: pip install 'nanochat-tui[{study.launcher}]'"
        )
    if study.launcher_options and package is None:
        problems.append("--launcher-options needs --launcher slurm or ray.")
    try:
        parse_options(study.launcher_options)
    except UserError as error:
        problems.append(str(error))
    return problems


def parse_options(text: str) -> dict[str, Any]:
    """Parse options such as `partition=gpu,gpus_per_node=1`; JSON values become numbers or booleans.

    Raises UserError if a part has no `=`.
    """
    options = {}
    for word in filter(None, text.split(",")):
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--launcher-options: {word!r} has no value. Write name=value, such as partition=gpu.")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options


def run_on_node(path: str) -> int:
    """Train one run on a cluster node, and return the worker's exit code: 0 if the run has already ended, 1 if another
    worker trains it."""
    run = Run(Path(path))
    if liveness.derive_state(run, read_history(run)) in _ENDED:  # submitted twice, as by a queue that was killed
        return 0
    try:
        return launch(run).wait()
    except UserError:
        return 1


class _LocalLauncher:
    """Processes on this machine: one per run, or those of a pool."""

    def __init__(self, slots: list[Slot], pool: WorkerPool | None) -> None:
        self.slots = slots
        self._pool = pool

    def start(self, run: Run, slot: Slot) -> Handle:
        if self._pool:
            return self._pool.start(run, slot)
        return launch(run, environment={} if slot is None else {VISIBLE_DEVICES: slot})

    def cancel(self, handle: Any) -> None:
        """Do nothing: a local run begins at once."""

    def close(self) -> None:
        if self._pool:
            self._pool.close()


class _SlurmLauncher:
    """Jobs of a Slurm cluster, through submitit. The option `cluster=local` runs them without a cluster."""

    def __init__(self, slots: list[Slot], folder: Path, options: dict[str, Any]) -> None:
        self.slots = slots
        submitit = importlib.import_module("submitit")
        self._executor = submitit.AutoExecutor(folder=folder, cluster=options.pop("cluster", "slurm"))
        self._executor.update_parameters(name=folder.parent.name, **options)

    def start(self, run: Run, slot: Slot) -> Handle:
        return _SlurmJob(self._executor.submit(run_on_node, str(run.path)))

    def cancel(self, handle: "_SlurmJob") -> None:
        handle.job.cancel()

    def close(self) -> None:
        """Do nothing: submitit keeps no process."""


class _SlurmJob:
    def __init__(self, job: Any) -> None:
        self.job = job

    def poll(self) -> int | None:
        return 0 if self.job.done() else None


class _RayLauncher:
    """Tasks on the Ray cluster at the option `address`, or on one of this machine. Other options are a Ray task's."""

    def __init__(self, slots: list[Slot], options: dict[str, Any]) -> None:
        self.slots = slots
        self._ray = importlib.import_module("ray")
        environment = {"env_vars": {"PYTHONPATH": python_path()}}
        self._ray.init(address=options.pop("address", None), runtime_env=environment, log_to_driver=False)
        self._task = self._ray.remote(max_retries=0, **options)(run_on_node)

    def start(self, run: Run, slot: Slot) -> Handle:
        return _RayTask(self._ray, self._task.remote(str(run.path)))

    def cancel(self, handle: "_RayTask") -> None:
        self._ray.cancel(handle.reference)

    def close(self) -> None:
        self._ray.shutdown()


class _RayTask:
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray = ray
        self.reference = reference

    def poll(self) -> int | None:
        ready, _ = self._ray.wait([self.reference], timeout=0)
        return 0 if ready else None
