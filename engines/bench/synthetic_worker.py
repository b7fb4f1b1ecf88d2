"""A worker that trains nothing: it writes steps at a given rate, for measuring what watching costs.

Started by `launch(run, "engines.bench.synthetic_worker", environment)` as any worker is.
"""

import math
import os
import sys
import time
from pathlib import Path

from engines.random_stream import RandomStream
from engines.runs.log import EventLog
from engines.runs.store import Run

RATE, PAST = "NANOCHAT_TUI_BENCH_RATE", "NANOCHAT_TUI_BENCH_PAST"  # steps a second, and those written at once
TOKENS_A_STEP = 1024
_NOISE = [0.1 * RandomStream(step).unit() for step in range(4096)]
_BURSTS = 200  # a second


def write_steps(log: EventLog, first: int, last: int, rate: float) -> None:
    """Steps of a loss that falls as losses do."""
    for step in range(first, last + 1):
        noise = _NOISE[step % len(_NOISE)]
        log.record_step(1.5 + 3 / math.sqrt(1 + step / 50) + noise, 1e-3, 1 / rate, 1 + noise, step * TOKENS_A_STEP)


def begin(log: EventLog) -> None:
    log.emit("run", pid=os.getpid(), host="bench", start=1)
    log.emit("phase", phase="train", done=None, total=None)


def main(run_path: str) -> None:
    """Write until somebody kills the process."""
    rate, past = float(os.environ[RATE]), int(os.environ[PAST])
    log = EventLog(Run(Path(run_path)).events_path, time.time())
    begin(log)
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
