"""The start of a run on a CPU: from the start of the command to the first `steps` event."""

import json
from collections.abc import Sequence

from engines.bench.cpu import sides
from engines.bench.cpu.figures import PartResult
from engines.bench.cpu.sides import CpuBenchmark
from engines.bench.nanochat.our_training import clear_folder
from engines.bench.report import Figure
from engines.errors import UserError


def measure_startup(bench: CpuBenchmark) -> PartResult:
    """Start a tensor mini-gpt with the defaults for everything but its length."""
    results = sides.get_results_dir(bench, "startup")
    words = ["--json", "train", "--results-dir", str(results), "--mode", "tensor", "--model-kind", "mini-gpt"]
    words += ["--device", "cpu", "--steps", "20"]
    seconds = []
    for _ in range(bench.rounds + 1):
        clear_folder(results)
        outcome = sides.run_ours(bench, "mini-gpt: start to the first step", *words)
        seconds.append(find_first_steps(outcome.lines, outcome.arrivals))
    return PartResult([Figure("mini-gpt: start to the first steps event", "s", seconds[1:], 1.6)], [])


def find_first_steps(lines: Sequence[str], arrivals: Sequence[float]) -> float:
    """Return when the first `steps` event was printed, in seconds. Raises UserError if there was none."""
    for line, arrival in zip(lines, arrivals, strict=True):
        if line.startswith("{") and json.loads(line)["kind"] == "steps":
            return arrival
    raise UserError("mini-gpt: start to the first step: no steps event was printed.")
