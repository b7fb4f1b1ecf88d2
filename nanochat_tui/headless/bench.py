"""bench: measure this program, alone or against karpathy/nanochat and nanoGPT, and write a report."""

import importlib
import shlex
from typing import Any

from engines.bench.cpu.settings import CpuBenchSettings
from engines.bench.nanochat.settings import NanochatBenchSettings
from engines.errors import SettingsError
from engines.settings.fields import fields
from engines.settings.requirements import flag_of
from engines.settings.train import TrainSettings
from nanochat_tui.commands import PROGRAM, Options
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.messages import print_message, print_written

_MODULES = {
    "laptop": "engines.bench.laptop",
    "log": "engines.bench.event_log",
    "scalar": "engines.bench.scalar",
    "step": "engines.bench.step",
    "ui": "nanochat_tui.bench_ui.suite",
}
_SETTINGS: dict[str, type] = {
    "cpu": CpuBenchSettings,
    "nanochat": NanochatBenchSettings,
    "step": TrainSettings,
}  # of the benchmarks that have any
# for paths in a report
_PLACEHOLDERS = {"nanogpt": "NANOGPT", "upstream": "UPSTREAM", "corpus": "CORPUS", "work": "WORK"}


def bench(options: Options) -> int:
    """Run a benchmark, print its report, and write it to bench/<what>.{json,md} in the results directory."""
    what = options.arguments["benchmark"]
    _refuse_settings_of_others(what, options.settings)
    if what == "nanochat":
        from nanochat_tui.headless.bench_nanochat import bench_nanochat

        return bench_nanochat(options, _command_line(options))
    if what == "cpu":
        from nanochat_tui.headless.bench_cpu import bench_cpu

        return bench_cpu(options, _command_line(options))
    measure = importlib.import_module(_MODULES[what]).measure
    arguments = (options.settings, _command_line(options)) if what in _SETTINGS else ()
    report = measure(lambda text: print_message(f"measuring {text} ..."), *arguments)
    paths = report.write(results_of(options) / "bench", what)
    print(report.to_json() if options.json else report.to_markdown(), end="")
    print_written(paths)
    return 0


def _refuse_settings_of_others(what: str, given: dict[str, Any]) -> None:
    """Raise SettingsError for options that do not apply to this benchmark; it names those they apply to."""
    own = fields(_SETTINGS[what]) if what in _SETTINGS else {}
    problems = []
    for name in (name for name in given if name not in own):
        owners = " and ".join(f"bench {other}" for other, settings in _SETTINGS.items() if name in fields(settings))
        problems.append(f"{flag_of(name)} is an option of {owners}, not of bench {what}.")
    if problems:
        raise SettingsError(problems)


def _command_line(options: Options) -> str:
    """Return the command that reproduces the report, without the paths of this machine."""
    words = [PROGRAM, "--no-ui", "bench", options.arguments["benchmark"]]
    for name, value in options.settings.items():
        text = str(value).lower() if value is None or isinstance(value, bool) else value
        words.append(f"{flag_of(name)}={_PLACEHOLDERS.get(name, text)}")
    return shlex.join(words)
