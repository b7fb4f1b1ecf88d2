"""bench nanochat: compare this program with karpathy/nanochat, once per budget."""

import contextlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.bench.nanochat import budgets, corpus, report, tasks, upstream_training
from engines.bench.nanochat.benchmark import BenchmarkProgress, build_path_mask, run_benchmark
from engines.bench.nanochat.settings import SIDES, NanochatBenchSettings
from engines.bench.nanochat.tasks import NanochatBenchmark
from engines.errors import SettingsError
from engines.files import user_path
from engines.settings.fields import AUTO, parse_settings
from engines.system.gpus import list_gpus
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.messages import print_message, print_written
from nanochat_tui.streams import can_repaint, repaint

if TYPE_CHECKING:
    from engines.bench.processes import OnOutput

_REQUIRED = {
    "upstream": "a work tree of karpathy/nanochat",
    "corpus": "a folder with train, val and heldout .jsonl.xz",
}
_LINE_INTERVAL = 5.0  # seconds between lines where one cannot be painted over another
_MAX_COLUMNS = 110  # of a line that is painted over


def bench_nanochat(options: Options, command: str) -> int:
    """Run the comparison for each budget. Return 1 if a part of one failed; the report is written all the same."""
    settings = NanochatBenchSettings(
        **parse_settings(NanochatBenchSettings, options.settings)
    )  # parsed again: --device has fewer values here
    results = results_of(options)
    exit_code = 0
    for bench in _plan_benchmarks(settings, results):
        if settings.dry_run:
            print(*tasks.format_commands(bench, build_path_mask(bench)), sep="\n")
            continue
        record, paths = _run(bench, command, results / "bench")
        print(paths[0].read_text() if options.json else report.render_markdown(record), end="")
        print_written(paths)
        if not all(part["status"] == "ok" for side in bench.sides for part in record["parts"][side].values()):
            exit_code = 1
    return exit_code


def _run(bench: NanochatBenchmark, command: str, folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """Run one comparison. An interruption names the folder with the results so far."""
    try:
        return run_benchmark(bench, command, folder, BenchmarkProgress(print_message, _stage))
    except KeyboardInterrupt as interruption:
        reason = str(interruption) or "interrupted"
        raise type(interruption)(f"{reason}; the results so far are in {folder}") from None


def _plan_benchmarks(settings: NanochatBenchSettings, results: Path) -> list[NanochatBenchmark]:
    """Return one comparison per budget. Raises SettingsError, which names every missing or wrong setting."""
    sides = _parse_sides(settings)
    our_flags, their_flags = _split_flags("ours", settings.ours), _split_flags("theirs", settings.theirs)
    found = list_gpus()
    device = settings.device if settings.device != AUTO else "cuda" if found else "cpu"
    tree = user_path(settings.upstream, "--upstream")
    upstream_training.check_tree(tree)
    text = user_path(settings.corpus, "--corpus")
    names = _choose_budgets(settings, device, found[0].total_bytes if found and device == "cuda" else 0)
    is_profile = len(names) > 1
    return [
        NanochatBenchmark(
            budget=budgets.BUDGETS[name],
            tree=tree,
            ref=upstream_training.find_commit(tree, settings.ref),
            corpus=text,
            corpus_id=corpus.compute_identity(text),
            work=user_path(settings.work or results / "race", "--work"),
            device=device,
            sides=sides,
            missing=settings.missing,
            seeds=settings.seeds,
            timeout=settings.timeout,
            equal_time=settings.equal_time,
            second_start=settings.second_start,
            short=settings.short or is_profile,
            reliability=settings.reliability,
            kills_at_once=settings.kills_at_once,
            decode=settings.decode or (is_profile and name == budgets.DECODED),
            our_flags=our_flags,
            their_flags=their_flags,
        )
        for name in names
    ]


def _parse_sides(settings: NanochatBenchSettings) -> tuple[str, ...]:
    """Return the sides to measure. Raises SettingsError, which also names other missing or contradictory settings."""
    problems = [f"--{name} is required: {what}." for name, what in _REQUIRED.items() if not getattr(settings, name)]
    sides = tuple(settings.sides.split(","))
    if not set(sides) <= set(SIDES):
        problems.append(f"--sides must be one or more of {','.join(SIDES)}, not {settings.sides!r}.")
    if settings.budget != AUTO and settings.profile != "auto":
        problems.append("--budget and --profile are mutually exclusive, because the profile chooses the budgets.")
    if problems:
        raise SettingsError(problems)
    return sides


def _choose_budgets(settings: NanochatBenchSettings, device: str, gpu_bytes: int) -> list[str]:
    """Return the names of the budgets: --budget, else those of the profile."""
    names = [settings.budget]
    if settings.budget == AUTO:
        names = budgets.choose_budgets(settings.profile, device, gpu_bytes, settings.time)
        print_message(f"--profile {settings.profile}: {', '.join(names)}")
    if settings.short and not any(budgets.BUDGETS[name].short for name in names):
        print_message(f"--short has no effect: {', '.join(names)} has no shorter schedule.")
    return names


def _split_flags(name: str, flags: str) -> list[str]:
    """Split the value of --ours or --theirs. Raises SettingsError if its quotes do not match."""
    try:
        return shlex.split(flags)
    except ValueError as error:
        raise SettingsError([f"--{name} {flags!r} cannot be split into options: {error}."]) from None


@contextlib.contextmanager
def _stage(title: str) -> Iterator["OnOutput"]:
    """Show the last line that a process printed: painted over on a terminal, else every few seconds."""
    started = last_line = time.monotonic()
    on_terminal = can_repaint()
    print_message(title)

    def show(seconds: float, line: str) -> None:
        nonlocal last_line
        text = f"  {seconds:5.0f} s  {line}"[:_MAX_COLUMNS]
        if on_terminal:
            repaint(text)
        elif time.monotonic() - last_line > _LINE_INTERVAL:
            last_line = time.monotonic()
            print_message(text)

    try:
        yield show
    finally:
        if on_terminal:
            repaint("")
        print_message(f"  {time.monotonic() - started:5.1f} s in total")
