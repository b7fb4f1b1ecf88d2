"""The scalar engine on this CPU: its speed compared with an autograd of single numbers, and its start."""

import tempfile
from pathlib import Path

from engines.bench import event_log, scalar
from engines.bench.cpu.figures import PartResult
from engines.bench.cpu.sides import CpuBenchmark
from engines.bench.report import Figure

_FIRST_EVENTS = 7


def measure_scalar(bench: CpuBenchmark) -> PartResult:
    """Train microgpt with both engines, and start a scalar run."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        first_event = [event_log.measure_first_event(folder) for _ in range(_FIRST_EVENTS)]
        before = scalar.time_microgpt(folder, bench.rounds)
        _, baseline = scalar.run_baseline()
        ours = before + scalar.time_microgpt(folder, bench.rounds)
    figures = [
        Figure(f"scalar engine: {scalar.STEPS} steps of a microgpt, whole process", "s", ours),
        Figure("the same with an autograd of single numbers", "s", [baseline]),
        Figure("scalar engine, compared with that", "times", [baseline / seconds for seconds in ours], 100, True),
        Figure("scalar engine: start to the first event of a run", "ms", first_event, 45),
    ]
    return PartResult(figures, [])
