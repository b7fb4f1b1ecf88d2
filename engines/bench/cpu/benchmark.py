"""Runs the parts of `bench cpu`, and builds the report. A part that fails does not end the others."""

import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from engines.bench import processes
from engines.bench.cpu import corpus, sides
from engines.bench.cpu.figures import PartResult, without_goals
from engines.bench.cpu.generation import measure_generation, measure_sampling
from engines.bench.cpu.matmul_rates import MatmulRates, format_threads, parse_rates
from engines.bench.cpu.scalar import measure_scalar
from engines.bench.cpu.settings import PARTS, CpuBenchSettings
from engines.bench.cpu.sides import BenchCommand, CpuBenchmark
from engines.bench.cpu.startup import measure_startup
from engines.bench.cpu.training import measure_threads, measure_training
from engines.bench.hidden_paths import PathMask
from engines.bench.nanochat import upstream_training
from engines.bench.processes import OnOutput, ProcessOutcome
from engines.bench.report import Figure, Report
from engines.errors import SettingsError, UserError
from engines.files import user_path
from engines.runs import manifest
from engines.system import cpu

_OURS = Path(__file__).resolve().parents[3]
_MATMUL = "matrix products"

Stage = Callable[[str], AbstractContextManager[OnOutput]]  # is entered with a title for everything that is measured


class CpuBenchResult(NamedTuple):
    """A report, and a sentence for each part that failed."""

    report: Report
    failures: list[str]


def run_benchmark(
    settings: CpuBenchSettings, command: str, results: Path, stage: Stage, rate_seconds: float = 0.5
) -> CpuBenchResult:
    """Measure all parts; each rate of matrix products is measured for `rate_seconds`.

    Raises UserError or SettingsError for wrong settings, before anything is measured.
    """
    parts = _parse_parts(settings.parts)
    bench = _plan(settings, results, stage)
    rates = parse_rates(sides.run_our_module(bench, _MATMUL, "engines.bench.cpu.matmul_rates", str(rate_seconds)))
    measures: dict[str, Callable[[], PartResult]] = {
        "training": lambda: measure_training(bench, rates),
        "sampling": lambda: measure_sampling(bench),
        "generation": lambda: measure_generation(bench),
        "startup": lambda: measure_startup(bench),
        "threads": lambda: measure_threads(bench),
        "scalar": lambda: _measure_scalar(bench, stage),
    }
    figures, notes, failures = list_matmul_figures(rates), describe_cpu(bench.text.name), []
    mask = _mask_paths(bench)
    for part in parts:
        try:
            measured = measures[part]()
        except UserError as error:
            failures.append(mask.hide(f"{part}: {error}"))
            continue
        figures += measured.figures
        notes += measured.notes
    if not cpu.has_bfloat16_matmul():
        figures = without_goals(figures)
        notes.append("The goals apply only to CPUs with AVX-512 bf16, so the table has none.")
    notes += [f"Failed: {failure}" for failure in failures]
    return CpuBenchResult(Report("Training and generation on a CPU", command, figures, notes), failures)


def _parse_parts(words: str) -> list[str]:
    """Return the parts in their order. Raises SettingsError for an unknown one."""
    given = words.split(",")
    if not set(given) <= set(PARTS):
        raise SettingsError([f"--parts must be one or more of {','.join(PARTS)}, not {words!r}."])
    return [part for part in PARTS if part in given]


def _plan(settings: CpuBenchSettings, results: Path, stage: Stage) -> CpuBenchmark:
    """Check the trees, and write the text. Raises UserError if one of them is missing."""
    nanogpt = user_path(settings.nanogpt, "--nanogpt") if settings.nanogpt else None
    upstream = user_path(settings.upstream, "--upstream") if settings.upstream else None
    if nanogpt:
        sides.check_nanogpt(nanogpt)
    if upstream:
        upstream_training.check_tree(upstream)
    source = corpus.find_text(user_path(settings.corpus, "--corpus") if settings.corpus else None, nanogpt)
    work = (user_path(settings.work, "--work") if settings.work else results / "race") / "cpu"
    text = corpus.split_text(source, work / "text")

    def run(command: BenchCommand) -> ProcessOutcome:
        log = work / "logs" / f"{re.sub('[^a-z0-9]+', '-', command.title.lower())}.log"
        with stage(command.title) as on_output:
            outcome = processes.run_process(
                command.words, command.environment, command.folder, log, math.inf, on_output
            )
        if outcome.status != "ok":
            last = next((f" ({line.strip()})" for line in reversed(outcome.lines) if line.strip()), "")
            raise UserError(f"{command.title}: {outcome.reason}{last}. Read {log}.")
        return outcome

    return CpuBenchmark(text, work, nanogpt, upstream, settings.rounds, settings.our_steps, settings.nanogpt_steps, run)


def _measure_scalar(bench: CpuBenchmark, stage: Stage) -> PartResult:
    with stage("scalar engine, and an autograd of single numbers (about three minutes)"):
        return measure_scalar(bench)


def _mask_paths(bench: CpuBenchmark) -> PathMask:
    named = {"NANOGPT": bench.nanogpt, "UPSTREAM": bench.upstream, "WORK": bench.work, "OURS": _OURS}
    return PathMask({name: path for name, path in named.items() if path is not None})


def list_matmul_figures(rates: MatmulRates) -> list[Figure]:
    """Return the rates of matrix products in GFLOP/s."""
    return [
        Figure(f"matrix products, {dtype}, {format_threads(threads)}", "GFLOP/s", [rate / 1e9])
        for dtype, by_threads in rates.rates.items()
        for threads, rate in by_threads.items()
    ]


def describe_cpu(text: str) -> list[str]:
    """Return sentences that name the CPU, the commit and the text."""
    flags = " ".join(cpu.list_vector_instructions()) or "unknown"
    commit = (manifest.describe_code()["commit"] or "unknown")[:7]
    return [
        f"{cpu.name()}, {cpu.usable_cores()} usable cores, instructions: {flags}.",
        f"Commit {commit}. Text: {text}.",
    ]
