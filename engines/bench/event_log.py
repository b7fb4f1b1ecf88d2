"""`bench log`: start-up of the CLI and of a run, and the cost of writing and reading the event log."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engines.bench import timed_process
from engines.bench.report import Figure, Report
from engines.random_stream import RandomStream
from engines.runs.history import History
from engines.runs.launch import launch
from engines.runs.log import EventLog
from engines.runs.reader import EventReader
from engines.training.create_run import create_run

_STEPS_PER_SECOND = 20_000
_PACED_SECONDS = 3
_LONG_RUN = 1_000_000
_NOISE = [2.0 + RandomStream(step).unit() for step in range(4096)]  # numbers with all digits, like losses
_MODULE = "nanochat_tui"


def measure(report_progress: Callable[[str], None], repeats: int = 7) -> Report:
    """Measure everything. `report_progress` is called with the name of each measurement."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        report_progress("--help compared with a bare interpreter")
        help_overhead = _measure_help_overhead(repeats)
        report_progress("start to first event")
        first_event = [measure_first_event(folder) for _ in range(repeats)]
        report_progress(f"writing {_STEPS_PER_SECOND:,} steps per second")
        write_cost = [_measure_write_cost(folder / f"paced-{n}.jsonl") for n in range(repeats)]
        report_progress(f"writing and reading {_LONG_RUN:,} steps")
        long_log = folder / "long.jsonl"
        size = _write_long_log(long_log)
        read_time = [_measure_reading(long_log) for _ in range(repeats)]
    figures = [
        Figure("`--help` minus `python -c pass`", "ms", help_overhead, 35),
        Figure("start to first event, scalar run", "ms", first_event, 150),
        Figure("CPU time per logged step at 20,000 steps/s", "µs", write_cost, 5),
        Figure("reading a log of 1,000,000 steps", "s", read_time, 1.5),
        Figure("size of this log", "bytes/step", [size / _LONG_RUN]),
    ]
    return Report("Event log and start-up", "nanochat-tui --no-ui bench log", figures)


def _measure_help_overhead(repeats: int) -> list[float]:
    """Return the milliseconds that --help takes longer. Both are timed alternately, since shared machines drift."""
    differences = []
    for _ in range(repeats + 1):
        _, bare = timed_process.run_timed([sys.executable, "-c", "pass"])
        _, full = timed_process.run_timed([sys.executable, "-m", _MODULE, "--help"])
        differences.append((full - bare) * 1e3)
    return differences[1:]  # the first warms the disk cache


def measure_first_event(folder: Path) -> float:
    """Return the milliseconds from before the launch until a reader can see the first event."""
    run = create_run({"steps": 0, "corpus_size": 1000, "data": "stories", "sample_tokens": 0}, folder)
    started = time.perf_counter()
    worker = launch(run)
    while run.events_path.stat().st_size == 0:
        time.sleep(0.0005)
    elapsed = time.perf_counter() - started
    worker.wait()
    return elapsed * 1e3


def _measure_write_cost(path: Path) -> float:
    """Return the microseconds of CPU time per step of a writer that is limited to 20,000 steps per second."""
    log = EventLog(path, time.time())
    steps = _STEPS_PER_SECOND * _PACED_SECONDS
    burst = _STEPS_PER_SECOND // 1000
    cpu = 0.0
    started = time.perf_counter()
    for first in range(0, steps, burst):
        before = time.process_time()
        for step in range(first, first + burst):
            noise = _NOISE[step % len(_NOISE)]
            log.record_step(noise, 0.001, 5e-5, noise, step)
        cpu += time.process_time() - before
        time.sleep(max(0.0, started + (first + burst) / _STEPS_PER_SECOND - time.perf_counter()))
    log.flush()
    return cpu / steps * 1e6


def _write_long_log(path: Path) -> int:
    """Write a long log, and return its size in bytes."""
    log = EventLog(path, time.time())
    for step in range(_LONG_RUN):
        noise = _NOISE[step % len(_NOISE)]
        log.record_step(noise, 0.001 * (1 - step / _LONG_RUN), 5e-5, noise, step)
    log.flush()
    return path.stat().st_size


def _measure_reading(path: Path) -> float:
    """Return the seconds that it takes to read the log."""
    started = time.perf_counter()
    history = History()
    history.apply(event for _, event in EventReader(path).poll())
    assert history.step == _LONG_RUN
    return time.perf_counter() - started
