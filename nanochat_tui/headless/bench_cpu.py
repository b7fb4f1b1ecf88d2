"""bench cpu: training and generation on this CPU, compared with nanoGPT and nanochat."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engines.bench.cpu.benchmark import run_benchmark
from engines.bench.cpu.settings import CpuBenchSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.messages import print_message, print_written
from nanochat_tui.headless.progress_message import progress_message

if TYPE_CHECKING:
    from engines.bench.processes import OnOutput

_MAX_COLUMNS = 60  # of the last line of a process


def bench_cpu(options: Options, command: str) -> int:
    """Measure, print the report and write it. Return 1 if a part failed; the report has the others."""
    results = results_of(options)
    report, failures = run_benchmark(CpuBenchSettings(**options.settings), command, results, _stage)
    paths = report.write(results / "bench", "cpu")
    print(report.to_json() if options.json else report.to_markdown(), end="")
    for failure in failures:
        print_message(f"failed: {failure}")
    print_written(paths)
    return 1 if failures else 0


@contextlib.contextmanager
def _stage(title: str) -> Iterator["OnOutput"]:
    """Show the seconds and the last line that a process printed, every second."""
    started = time.monotonic()
    latest = ""

    def show(seconds: float, line: str) -> None:
        nonlocal latest
        latest = "" if line.startswith("{") else line[:_MAX_COLUMNS]  # JSON is not for people

    with progress_message(title, lambda: latest):
        yield show
    print_message(f"{title}: {time.monotonic() - started:.1f} s")
