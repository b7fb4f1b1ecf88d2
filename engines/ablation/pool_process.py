"""Process that trains short runs one after another: `python -m engines.ablation.pool_process`.

Importing torch takes longer than training a bigram, so short runs share a process. `worker_pool.PoolWorker` writes one
line per run to its stdin (start time in ns, path) and reads one line per run from its stdout (the worker's exit code).
Each run keeps its own lock, log and events, and is finished even if the queue exits.
"""

import contextlib
import gc
import os
import signal
import sys
from pathlib import Path

from engines.errors import UserError
from engines.runs.liveness import START_MARK
from engines.runs.locking import acquire_lock
from engines.runs.store import Run

_EXIT_NOT_TRAINED = 1  # another worker holds the lock, or worker.log cannot be written


def main() -> int:
    """Train the runs named on stdin until it is closed."""
    responses = os.fdopen(os.dup(1), "wb", buffering=0)
    for line in sys.stdin:
        since_ns, _, path = line.rstrip("\n").partition(" ")
        code = _train(Run(Path(path)), int(since_ns))
        with contextlib.suppress(BrokenPipeError):
            responses.write(f"{code}\n".encode())
        _reset_process()
    return 0


def _train(run: Run, since_ns: int) -> int:
    from engines.training.worker import train_run  # imports everything that training needs

    try:
        lock = acquire_lock(run)
    except UserError:
        return _EXIT_NOT_TRAINED
    try:
        _redirect_output(run.log_path)
        return train_run(run, since_ns)
    except OSError:  # worker.log cannot be written: the run stays unchanged
        return _EXIT_NOT_TRAINED
    finally:
        os.close(lock)


def _redirect_output(path: Path) -> None:
    """Append stdout and stderr, including the output of C libraries, to the run's log."""
    with open(path, "ab") as log:
        log.write(f"{START_MARK}\n".encode())
        log.flush()
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)


def _reset_process() -> None:
    """Undo what a worker changes in its process: frozen objects, signal handlers and cached GPU memory."""
    gc.enable()
    gc.unfreeze()
    gc.collect()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
