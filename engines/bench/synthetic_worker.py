"""A worker that only writes steps to the log at a given rate, to measure the cost of watching a run.

`launch(run, "engines.bench.synthetic_worker", environment)` starts it like any worker.
"""

import math
import os
import sys
import time
from pathlib import Path

from engines.random_stream import RandomStream
from engines.runs.log import EventLog
from engines.runs.store import Run

RATE, PAST = (
    "NANOCHAT_TUI_BENCH_RATE",
    "NANOCHAT_TUI_BENCH_PAST",
)  # environment variables: steps per second, and steps written at the start
TOKENS_PER_STEP = 1024
NOISE = [0.1 * RandomStream(step).unit() for step in range(4096)]
_BURSTS = 200  # per second


def write_steps(log: EventLog, first: int, last: int, rate: float) -> None:
    """Write steps with a plausible falling loss."""
    for step in range(first, last + 1):
        noise = NOISE[step % len(NOISE)]
        log.record_step(1.5 + 3 / math.sqrt(1 + step / 50) + noise, 1e-3, 1 / rate, 1 + noise, step * TOKENS_PER_STEP)


def write_start(log: EventLog) -> None:
    """Write the events of a run that has started to train."""
    log.emit("run", pid=os.getpid(), host="bench", start=1)
    log.emit("phase", phase="train", done=None, total=None)


def main(run_path: str) -> None:
    """Write steps until the process is killed."""
    rate, past = float(os.environ[RATE]), int(os.environ[PAST])
    log = EventLog(Run(Path(run_path)).events_path, time.time())
    write_start(log)
    started = time.perf_counter()
    done = 0
    while True:
        due = past + int((time.perf_counter() - started) * rate)
        write_steps(log, done + 1, due, rate)
        log.flush_if_due()
        done = due
        time.sleep(1 / _BURSTS)


if __name__ == "__main__":
    main(sys.argv[1])
