"""Makes a run of settings, and starts its worker: locked from the first moment, in a session of its own."""

import dataclasses
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines import registry
from engines.config import BUILT_IN_CORPORA, TrainSettings, resolve
from engines.data.sources import locate
from engines.errors import LabError
from engines.runs import bytecode, manifest
from engines.runs.liveness import START_MARK
from engines.runs.store import Run, create_run, remember

_LOCK_PATIENCE = 1.0  # seconds; a viewer's probe holds the lock for microseconds
_WORKER = "engines.worker"
_CODE_ROOT = Path(__file__).resolve().parent.parent.parent


def new_run(given: Mapping[str, Any], results: Path, origin: Mapping[str, Any] | None = None) -> Run:
    """A run of what was asked for, not started yet. LabError, before anything is written, if it could not be.

    `origin` is added to the manifest: where the run comes from, if it goes on from another.
    """
    return run_of(resolve(given), given, results, origin)


def run_of(
    settings: TrainSettings, given: Mapping[str, Any], results: Path, origin: Mapping[str, Any] | None = None
) -> Run:
    """As `new_run`, of settings that are resolved already."""
    registry.available(settings.mode, settings.model_kind)
    for data in filter(None, (settings.data, settings.val_data)):
        if data not in BUILT_IN_CORPORA:
            locate(data)
    config = {
        "given": dict(given),
        "resolved": _with_absolute_paths(settings),
        "seed": settings.seed,
        "code": manifest.code(),
        **(origin or {}),
    }
    return create_run(results, settings.checkpoint_dir, config)


def launch(run: Run, module: str = _WORKER, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a worker on a new or a dead run. LabError if one lives already.

    `environment` is added to this process's own. A study is a run whose worker is another `module`.
    """
    started_ns = time.time_ns()
    lock = take_lock(run)
    try:
        with open(run.log_path, "ab") as log:
            log.write(f"{START_MARK}\n".encode())
            log.flush()
            worker = subprocess.Popen(
                # -P: a file of the user's in the current folder must not stand in for a module of the lab
                [sys.executable, "-P", "-m", module, run.path, f"--lock={lock}", f"--since={started_ns}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
                env={**os.environ, **bytecode.environment(), "PYTHONPATH": python_path(), **(environment or {})},
            )
    finally:
        os.close(lock)  # the worker has its own descriptor of the same lock
    remember(run.path.parent.parent)  # while the worker starts
    return worker


def _with_absolute_paths(settings: TrainSettings) -> dict[str, Any]:
    """A resumed run may be started from another folder."""
    resolved = dataclasses.asdict(settings)
    for name in ("data", "val_data"):
        if resolved[name] and resolved[name] not in BUILT_IN_CORPORA:
            resolved[name] = str(Path(resolved[name]).expanduser().absolute())
    return resolved


def take_lock(run: Run) -> int:
    """A descriptor that holds the run's lock until it is closed. LabError if a worker has it."""
    fd = os.open(run.lock_path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise LabError(f"run {run.id} is live; attach to it, or stop it first.") from None
            time.sleep(0.02)


def python_path() -> str:
    inherited = os.environ.get("PYTHONPATH")
    return f"{_CODE_ROOT}{os.pathsep}{inherited}" if inherited else str(_CODE_ROOT)
