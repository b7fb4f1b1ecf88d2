"""A process that trains tiny runs one after another: `python -m engines.ablation.worker_pool`. To import torch takes longer
than to train a bigram. `Crew` is the queue's side of it.

They speak in lines: when a run was begun and its path one way, the exit code of its worker the other. Each run has its
lock, log and events as ever, and is brought to its end if the queue dies.
"""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.cost.machine import Machine
from engines.cost.plan import estimate
from engines.cost.vocab_size import preview_vocab_sizes
from engines.errors import UserError
from engines.runs.liveness import START_MARK
from engines.runs.locking import take_lock
from engines.runs.store import Run
from engines.settings.train import TrainSettings
from engines.system.subprocesses import python_path

MOST_RUNS = 100  # of one process: each leaves an open log behind, and whatever libraries keep
_TINY_SECONDS = 5.0  # of training; a worker that imports torch starts in about 2
_LOCKED_OUT = 1


def are_tiny(settings: Sequence[TrainSettings]) -> bool:
    """Return whether starting a process takes a large part of each run's estimated time on a CPU."""
    try:
        vocab_sizes = preview_vocab_sizes(settings)
    except UserError:  # each worker reports it
        return False
    return all(_is_tiny(each, size) for each, size in zip(settings, vocab_sizes, strict=True))


def _is_tiny(settings: TrainSettings, vocab_size: int) -> bool:
    expected = estimate(settings, vocab_size, Machine(None, 1))
    return expected.seconds is not None and expected.seconds < _TINY_SECONDS


class Crew:
    """One such process, and the run that it works on."""

    def __init__(self, place: str | None, environment: Mapping[str, str]) -> None:
        self.place = place
        self._runs = 0
        self._heard = b""
        self._is_busy = False
        self._process = subprocess.Popen(
            # -P: a file of the user's in the current folder must not stand in for a module of the lab
            [sys.executable, "-P", "-m", "engines.ablation.worker_pool"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # between runs there is nothing to say
            bufsize=0,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": python_path(), **environment},
        )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def is_free(self) -> bool:
        return not self._is_busy and self._runs < MOST_RUNS and self._process.poll() is None

    def train(self, run: Run) -> None:
        """Begin with a run; `poll` tells when it is over."""
        assert self._process.stdin
        self._runs += 1
        self._is_busy = True
        with contextlib.suppress(BrokenPipeError):  # it died: poll tells
            self._process.stdin.write(f"{time.time_ns()} {run.path}\n".encode())

    def poll(self) -> int | None:
        """The exit code of the run that was begun last, None while it is on."""
        assert self._process.stdout
        code = self._process.poll()  # asked before reading: what it said before it died is read
        self._heard += self._process.stdout.read() or b""
        *lines, self._heard = self._heard.split(b"\n")
        if lines:
            code = int(lines[-1])
        self._is_busy = self._is_busy and code is None
        return code

    def close(self) -> None:
        """Let it end, after its run if it has one."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()


# --- the process itself -----------------------------------------------------------------------------


def main() -> int:
    """Train what is asked for until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    for line in sys.stdin:
        since_ns, _, path = line.rstrip("\n").partition(" ")
        code = _train(Run(Path(path)), int(since_ns))
        with contextlib.suppress(BrokenPipeError):
            answers.write(f"{code}\n".encode())
        _forget()
    return 0


def _train(run: Run, since_ns: int) -> int:
    from engines.training.worker import train_run  # imports everything that training needs

    try:
        lock = take_lock(run)
    except UserError:  # somebody else works on it
        return _LOCKED_OUT
    try:
        _print_to(run.log_path)
        return train_run(run, since_ns)
    except OSError:  # worker.log cannot be written: the run stays as it is
        return _LOCKED_OUT
    finally:
        os.close(lock)


def _print_to(path: Path) -> None:
    """Append stdout and stderr, including the output of C libraries, to the run's log."""
    with open(path, "ab") as log:
        log.write(f"{START_MARK}\n".encode())
        log.flush()
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)


def _forget() -> None:
    """As a new process would be: a worker freezes what it finds and takes the signals."""
    gc.enable()
    gc.unfreeze()
    gc.collect()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
