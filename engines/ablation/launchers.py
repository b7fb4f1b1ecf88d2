"""Where the runs of a study are trained: on this machine, by Slurm, or on a Ray cluster. To schedule is the business of
submitit and Ray; they need no more of us than a results directory that all machines share."""

import importlib
import importlib.util
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from engines.ablation.settings import StudySettings
from engines.ablation.slots import VISIBLE, Place, places, wants_gpu
from engines.ablation.worker_pool import Crew, are_tiny
from engines.errors import UserError
from engines.runs import liveness
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.system.subprocesses import python_path

_PACKAGES = {"slurm": "submitit", "ray": "ray"}
_AT_ONCE = 64  # runs handed to a cluster, which has a queue of its own; a guess
_OVER = ("finished", "halted", "crashed")


class Handle(Protocol):
    """A run in training."""

    def poll(self) -> int | None:
        """None as long as it is on."""


class Launcher(Protocol):
    """Begins runs; `places` is one for each that may be on at the same time."""

    places: list[Place]

    def start(self, run: Run, place: Place) -> Handle: ...

    def withdraw(self, handle: Any) -> None:
        """Take back a run that has not begun, if it still waits in somebody's queue."""

    def close(self) -> None:
        """Nothing more is to be begun."""


def new_launcher(study: StudySettings, settings: Sequence[TrainSettings], folder: Path) -> Launcher:
    """The launcher that was asked for, for cells of these settings. `folder` is for what it has to write."""
    if study.launcher == "local":
        share = are_tiny(settings) if study.one_process == AUTO else study.one_process
        return _Local(places(settings, study.jobs), share)
    on_cluster: list[Place] = [None] * (_AT_ONCE if study.jobs == AUTO else study.jobs)
    options = parse_options(study.launcher_options)
    try:
        if study.launcher == "slurm":
            return _Slurm(on_cluster, folder, options)
        return _Ray(on_cluster, {"num_gpus": int(any(map(wants_gpu, settings))), **options})
    except Exception as error:  # whatever these packages raise: no cluster, an option that they do not know
        raise UserError(f"--launcher {study.launcher} does not work here: {error}") from error


def problems(study: StudySettings) -> list[str]:
    """What stands against this launcher here."""
    package = _PACKAGES.get(study.launcher)
    found = []
    if package and importlib.util.find_spec(package) is None:
        found.append(f"--launcher {study.launcher} needs {package}: pip install nanochat-tui[{study.launcher}]")
    if study.launcher_options and package is None:
        found.append("--launcher-options are for --launcher slurm and ray.")
    try:
        parse_options(study.launcher_options)
    except UserError as error:
        found.append(str(error))
    return found


def parse_options(text: str) -> dict[str, Any]:
    """`partition=gpu,gpus_per_node=1`, with numbers as numbers."""
    options = {}
    for word in filter(None, text.split(",")):
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--launcher-options: {word!r} must be a name and a value, such as partition=gpu.")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options


def train_there(path: str) -> int:
    """What a machine of the cluster is asked to do: be a launcher of its own for one run."""
    run = Run(Path(path))
    if liveness.state(run, read_history(run)) in _OVER:  # asked twice, as by a queue that was killed
        return 0
    try:
        return launch(run).wait()
    except UserError:  # it lives: somebody else was asked
        return 1


class _Local:
    """Processes of this machine."""

    def __init__(self, places: list[Place], share: bool) -> None:
        self.places = places
        self._share = share
        self._crews: list[Crew] = []

    def start(self, run: Run, place: Place) -> "subprocess.Popen[bytes] | Crew":
        environment = {} if place is None else {VISIBLE: place}
        if not self._share:
            return launch(run, environment=environment)
        crew = next((crew for crew in self._crews if crew.place == place and crew.is_free), None)
        if crew is None:
            crew = Crew(place, environment)
            self._crews.append(crew)
        crew.train(run)
        return crew

    def withdraw(self, handle: Any) -> None:
        """What was begun here begins at once."""

    def close(self) -> None:
        for crew in self._crews:
            crew.close()


class _Slurm:
    """Jobs of a Slurm cluster, through submitit; `cluster=local` among the options tries it without one."""

    def __init__(self, places: list[Place], folder: Path, options: dict[str, Any]) -> None:
        self.places = places
        submitit = importlib.import_module("submitit")
        self._executor = submitit.AutoExecutor(folder=folder, cluster=options.pop("cluster", "slurm"))
        self._executor.update_parameters(name=folder.parent.name, **options)

    def start(self, run: Run, place: Place) -> Handle:
        return _SlurmJob(self._executor.submit(train_there, str(run.path)))

    def withdraw(self, handle: "_SlurmJob") -> None:
        handle.job.cancel()

    def close(self) -> None:
        """There is nothing to close."""


class _SlurmJob:
    def __init__(self, job: Any) -> None:
        self.job = job

    def poll(self) -> int | None:
        return 0 if self.job.done() else None


class _Ray:
    """Tasks on a Ray cluster: that of `address`, or one on this machine. Options are those of a Ray task."""

    def __init__(self, places: list[Place], options: dict[str, Any]) -> None:
        self.places = places
        self._ray = importlib.import_module("ray")
        environment = {"env_vars": {"PYTHONPATH": python_path()}}
        self._ray.init(address=options.pop("address", None), runtime_env=environment, log_to_driver=False)
        self._task = self._ray.remote(max_retries=0, **options)(train_there)

    def start(self, run: Run, place: Place) -> Handle:
        return _RayTask(self._ray, self._task.remote(str(run.path)))

    def withdraw(self, handle: "_RayTask") -> None:
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
