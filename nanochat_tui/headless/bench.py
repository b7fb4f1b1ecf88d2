"""bench: measures this program and writes a report."""

import importlib
import sys
from pathlib import Path

from engines.runs.store import results_dir
from nanochat_tui.commands import Options

_MODULES = {"log": "engines.bench.log", "scalar": "engines.bench.scalar", "ui": "nanochat_tui.bench_ui"}


def bench(options: Options) -> int:
    """Measure, print, and write results/bench/<what>.{json,md}."""
    what = options.words["what"]
    measure = importlib.import_module(_MODULES[what]).measure
    report = measure(lambda text: print(f"measuring {text} ...", file=sys.stderr, flush=True))
    paths = report.write(results_dir(options.words["results_dir"]) / "bench", what)
    print(report.to_json() if options.json else report.to_markdown(), end="")
    print(f"written: {', '.join(str(_relative(path)) for path in paths)}", file=sys.stderr)
    return 0


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
