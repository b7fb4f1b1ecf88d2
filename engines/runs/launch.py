"""Starts the worker of a run: in a session of its own, holding the run's lock from the start."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

from engines.errors import UserError
from engines.runs.liveness import START_MARK
from engines.runs.locking import acquire_lock
from engines.runs.lookup import add_used_results_dir
from engines.runs.store import Run
from engines.system import bytecode
from engines.system.subprocesses import python_path

_WORKER = "engines.training.worker"
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)  # training/signals.py handles them


def launch(run: Run, module: str = _WORKER, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a worker on a run that has none. Raises UserError if one is running or the start fails.

    `environment` is added to this process's own. A study is a run whose worker is another `module`.
    """
    started_ns = time.time_ns()
    # -P: modules in the user's working directory must not replace the program's
    command = [sys.executable, "-P", "-m", module, str(run.path)]
    lock = acquire_lock(run)
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
        raise UserError(f"run {run.id} cannot be started: {_describe_error(error)}.") from None
    finally:
        os.close(lock)  # the worker has its own descriptor of the same lock
    add_used_results_dir(run.path.parent.parent)  # while the worker starts
    return worker


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block the signals that end a worker. The worker inherits this and unblocks them when it has handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _describe_error(error: OSError) -> str:
    """Return `No space left on device: /path/of/the/file`, as far as the error names a file."""
    return ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
