"""Reusable processes for short runs; `pool_process` is the code that runs in them."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from engines.ablation.slots import VISIBLE_DEVICES, Slot
from engines.cost.machine import Machine
from engines.cost.plan import estimate
from engines.cost.vocab_size import preview_vocab_sizes
from engines.errors import UserError
from engines.runs.store import Run
from engines.settings.train import TrainSettings
from engines.system.subprocesses import python_path

MAX_RUNS_PER_PROCESS = 100  # each run leaves an open log behind, and whatever libraries keep; a guess
_SHORT_RUN_SECONDS = 5.0  # of training; starting a worker that imports torch takes about 2 s


def are_short_runs(settings: Sequence[TrainSettings]) -> bool:
    """Return whether starting a process takes a large part of each run's estimated time on a CPU."""
    try:
        vocab_sizes = preview_vocab_sizes(settings)
    except UserError:  # each worker reports it
        return False
    return all(is_short_run(each, size) for each, size in zip(settings, vocab_sizes, strict=True))


def is_short_run(settings: TrainSettings, vocab_size: int) -> bool:
    """Return whether a run with this vocabulary is estimated to train in a few seconds on one core."""
    expected = estimate(settings, vocab_size, Machine(None, 1))
    return expected.seconds is not None and expected.seconds < _SHORT_RUN_SECONDS


class WorkerPool:
    """Processes that each train one run at a time; a free one is reused for the next run in the same slot."""

    def __init__(self) -> None:
        self._workers: list[PoolWorker] = []

    def start(self, run: Run, slot: Slot) -> "PoolWorker":
        """Start training a run in a free process of this slot, or in a new one."""
        worker = next((worker for worker in self._workers if worker.slot == slot and worker.is_free), None)
        if worker is None:
            worker = PoolWorker(slot)
            self._workers.append(worker)
        worker.train(run)
        return worker

    def close(self) -> None:
        """Let every process exit after its current run."""
        for worker in self._workers:
            worker.close()


class PoolWorker:
    """One process of the pool, and the run that it trains."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self._run_count = 0
        self._unread = b""
        self._is_busy = False
        environment: Mapping[str, str] = {} if slot is None else {VISIBLE_DEVICES: slot}
        self._process = subprocess.Popen(
            # -P: a file in the current folder must not shadow a module of this program
            [sys.executable, "-P", "-m", "engines.ablation.pool_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # runs redirect it to their own logs
            bufsize=0,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": python_path(), **environment},
        )
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def is_free(self) -> bool:
        """True if the process can train another run."""
        return not self._is_busy and self._run_count < MAX_RUNS_PER_PROCESS and self._process.poll() is None

    def train(self, run: Run) -> None:
        """Start training a run; `poll` returns its exit code when it has ended."""
        assert self._process.stdin
        self._run_count += 1
        self._is_busy = True
        with contextlib.suppress(BrokenPipeError):  # the process has exited, which `poll` reports
            self._process.stdin.write(f"{time.time_ns()} {run.path}\n".encode())

    def poll(self) -> int | None:
        """Return the exit code of the last run, or None while it is running."""
        assert self._process.stdout
        code = self._process.poll()  # before reading: a response written just before the exit must not be missed
        self._unread += self._process.stdout.read() or b""
        *lines, self._unread = self._unread.split(b"\n")
        if lines:
            code = int(lines[-1])
        self._is_busy = self._is_busy and code is None
        return code

    def close(self) -> None:
        """Let the process exit, after its current run if it has one."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
