"""What watching costs: start-up, the first event, writing and reading the event log."""

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
_NOISE = [2.0 + RandomStream(step).unit() for step in range(4096)]  # numbers with all their digits, as losses are
_MODULE = "nanochat_tui"


def measure(say: Callable[[str], None], repeats: int = 7) -> Report:
    """All figures; `say` hears what is being measured."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        say("--help against a bare interpreter")
        help_over_bare = _help_over_bare(repeats)
        say("spawn to first event")
        first_event = [_spawn_to_first_event(folder) for _ in range(repeats)]
        say(f"writing {_STEPS_PER_SECOND:,} steps a second")
        write_cost = [_paced_write_cost(folder / f"paced-{n}.jsonl") for n in range(repeats)]
        say(f"writing and reading {_LONG_RUN:,} steps")
        long_log = folder / "long.jsonl"
        size = _write_long(long_log)
        read_time = [_read(long_log) for _ in range(repeats)]
    figures = [
        Figure("`--help` over `python -c pass`", "ms", help_over_bare, 35),
        Figure("spawn to first event, scalar run", "ms", first_event, 150),
        Figure("CPU time of logging a step at 20,000 steps/s", "µs", write_cost, 5),
        Figure("reading a log of 1,000,000 steps", "s", read_time, 1.5),
        Figure("size of that log", "bytes/step", [size / _LONG_RUN]),
    ]
    return Report("The event log and start-up", "nanochat-tui --no-ui bench log", figures)


def _help_over_bare(repeats: int) -> list[float]:
    """Milliseconds that --help takes longer, in turns: shared machines drift."""
    differences = []
    for _ in range(repeats + 1):
        _, bare = timed_process.run([sys.executable, "-c", "pass"])
        _, full = timed_process.run([sys.executable, "-m", _MODULE, "--help"])
        differences.append((full - bare) * 1e3)
    return differences[1:]  # the first warms the disk


def _spawn_to_first_event(folder: Path) -> float:
    """Milliseconds from before the launch until a reader could see the first event."""
    run = create_run({"steps": 0, "corpus_size": 1000, "data": "stories", "sample_tokens": 0}, folder)
    started = time.perf_counter()
    worker = launch(run)
    while run.events_path.stat().st_size == 0:
        time.sleep(0.0005)
    elapsed = time.perf_counter() - started
    worker.wait()
    return elapsed * 1e3


def _paced_write_cost(path: Path) -> float:
    """Microseconds of CPU time a step, of a writer that is held to 20,000 steps a second."""
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


def _write_long(path: Path) -> int:
    """The size of the log in bytes."""
    log = EventLog(path, time.time())
    for step in range(_LONG_RUN):
        noise = _NOISE[step % len(_NOISE)]
        log.record_step(noise, 0.001 * (1 - step / _LONG_RUN), 5e-5, noise, step)
    log.flush()
    return path.stat().st_size


def _read(path: Path) -> float:
    started = time.perf_counter()
    history = History()
    history.apply(event for _, event in EventReader(path).poll())
    assert history.step == _LONG_RUN
    return time.perf_counter() - started
