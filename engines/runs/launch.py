"""Makes a run of settings, and starts its worker: locked from the first moment, in a session of its own."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines import registry
from engines.data.file_selection import locate_both
from engines.errors import UserError
from engines.files import user_path
from engines.runs import manifest
from engines.runs.creation import Fill, create_run
from engines.runs.liveness import START_MARK
from engines.runs.locking import take_lock as take_lock
from engines.runs.store import Run, remember
from engines.settings.requirements import flag_of
from engines.settings.resolve import resolve
from engines.settings.train import BUILT_IN_CORPORA, TrainSettings
from engines.system import bytecode
from engines.system.subprocesses import python_path
from engines.training.progress import SCHEDULE

_WORKER = "engines.training.worker"
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # a worker handles them


def new_run(
    given: Mapping[str, Any], results: Path, origin: Mapping[str, Any] | None = None, fill: Fill | None = None
) -> Run:
    """Create a run with these settings, without starting it. Raises UserError, and leaves nothing behind, on failure.

    `origin` is added to the manifest: the run or study that this one comes from. `fill` adds further files.
    """
    return run_of(resolve(given), given, results, origin, fill)


def run_of(
    settings: TrainSettings,
    given: Mapping[str, Any],
    results: Path,
    origin: Mapping[str, Any] | None = None,
    fill: Fill | None = None,
) -> Run:
    """Create a run as `new_run` does, with settings that are already resolved."""
    registry.available(settings.mode, settings.model_kind)
    locate_both(settings.data, settings.val_data)
    config = {
        "given": dict(given),
        "resolved": _with_absolute_paths(settings),
        "seed": settings.seed,
        "code": manifest.code(),
        "schedule": SCHEDULE,
        **(origin or {}),
    }
    return create_run(results, settings.checkpoint_dir, config, fill)


def launch(run: Run, module: str = _WORKER, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a worker on a run that has none. Raises UserError if one is running, or none can be started.

    `environment` is added to this process's own. A study is a run whose worker is another `module`.
    """
    started_ns = time.time_ns()
    # -P: modules in the user's working directory must not replace the program's
    command = [sys.executable, "-P", "-m", module, str(run.path)]
    lock = take_lock(run)
    try:
        with open(run.log_path, "ab") as log:
            log.write(f"{START_MARK}\n".encode())
            log.flush()
            with _blocked_signals():
                worker = subprocess.Popen(
                    [*command, f"--lock={lock}", f"--since={started_ns}"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[lock],
                    start_new_session=True,
                    env={**os.environ, **bytecode.environment(), "PYTHONPATH": python_path(), **(environment or {})},
                )
    except OSError as error:
        raise UserError(f"run {run.id} cannot be started: {_reason(error)}.") from None
    finally:
        os.close(lock)  # the worker has its own descriptor of the same lock
    remember(run.path.parent.parent)  # while the worker starts
    return worker


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block the signals that end a worker. The worker inherits this and unblocks them when it has handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _with_absolute_paths(settings: TrainSettings) -> dict[str, Any]:
    """A resumed run may be started from another folder."""
    resolved = dataclasses.asdict(settings)
    for name in ("data", "val_data"):
        if resolved[name] and resolved[name] not in BUILT_IN_CORPORA:
            resolved[name] = str(user_path(resolved[name], flag_of(name)))
    return resolved


def _reason(error: OSError) -> str:
    """Return `No space left on device: /path/of/the/file`, as far as the error names a file."""
    return ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
