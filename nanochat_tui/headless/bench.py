"""bench: measures this program, alone or against karpathy/nanochat, and writes a report."""

import contextlib
import importlib
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.bench.nanochat.settings import RaceSettings
from engines.errors import SettingsError
from engines.files import user_path
from engines.runs.lookup import results_dir
from engines.settings.fields import AUTO, fields, parse_all
from engines.settings.train import TrainSettings
from nanochat_tui.commands import PROGRAM, Options
from nanochat_tui.streams import can_repaint, repaint

if TYPE_CHECKING:
    from engines.bench.nanochat.processes import Hear
    from engines.bench.nanochat.tasks import Race

_MODULES = {
    "log": "engines.bench.event_log",
    "scalar": "engines.bench.scalar",
    "step": "engines.bench.step",
    "ui": "nanochat_tui.bench_ui.suite",
}
_SETTINGS: dict[str, type] = {"nanochat": RaceSettings, "step": TrainSettings}  # of what takes any
_LINE_INTERVAL = 5.0  # seconds between lines where one cannot be painted over another
_WIDEST = 110  # columns of a line that is painted over


def bench(options: Options) -> int:
    """Measure, print, and write results/bench/<what>.{json,md}."""
    what = options.words["what"]
    _refuse_settings_of_others(what, options.settings)
    if what == "nanochat":
        return _races(options)
    measure = importlib.import_module(_MODULES[what]).measure
    asked = (options.settings, _command(options)) if what in _SETTINGS else ()
    report = measure(lambda text: _say(f"measuring {text} ..."), *asked)
    paths = report.write(results_dir(options.words["results_dir"]) / "bench", what)
    print(report.to_json() if options.json else report.to_markdown(), end="")
    _say_written(paths)
    return 0


def _refuse_settings_of_others(what: str, given: dict[str, Any]) -> None:
    """SettingsError names the flags that say nothing about what is measured, and what they are for."""
    own = fields(_SETTINGS[what]) if what in _SETTINGS else {}
    problems = []
    for name in (name for name in given if name not in own):
        takers = " and ".join(f"bench {other}" for other, settings in _SETTINGS.items() if name in fields(settings))
        problems.append(f"{_flag(name)}: for {takers}, not for bench {what}.")
    if problems:
        raise SettingsError(problems)


# --- the race against nanochat ------------------------------------------------------------------------


def _races(options: Options) -> int:
    """A race for each budget; 1 where something did not go well, its report written all the same."""
    from engines.bench.nanochat import report, tasks
    from engines.bench.nanochat.benchmark import Watch, hold, places_of

    settings = RaceSettings(**parse_all(RaceSettings, options.settings))  # again: a --device may be for trainings only
    results = results_dir(options.words["results_dir"])
    code = 0
    for race in _planned(settings, results):
        if settings.dry_run:
            print(*tasks.show(race, places_of(race)), sep="\n")
            continue
        try:
            record, paths = hold(race, _command(options), results / "bench", Watch(_say, _stage))
        except KeyboardInterrupt as interruption:
            word = str(interruption) or "interrupted"
            raise type(interruption)(f"{word}; what was measured so far is in {results / 'bench'}") from None
        print(paths[0].read_text() if options.json else report.markdown(record), end="")
        _say_written(paths)
        went_well = all(part["status"] == "ok" for side in race.sides for part in record["parts"][side].values())
        code = code if went_well else 1
    return code


def _planned(settings: RaceSettings, results: Path) -> list["Race"]:
    """A race for each budget. SettingsError names what is problems or wrong."""
    from engines.bench.nanochat import budgets, corpus, upstream_training
    from engines.bench.nanochat.settings import SIDES
    from engines.bench.nanochat.tasks import Race
    from engines.system.gpus import gpus

    problems = [f"--{name} is needed: {why}." for name, why in _NEEDED.items() if not getattr(settings, name)]
    sides = tuple(settings.sides.split(","))
    if not set(sides) <= set(SIDES):
        problems.append(f"--sides must be some of {','.join(SIDES)}, not {settings.sides!r}.")
    if settings.budget != AUTO and settings.profile != "auto":
        problems.append("--profile chooses the budgets: give it, or --budget.")
    if problems:
        raise SettingsError(problems)
    our_flags, their_flags = _words("ours", settings.ours), _words("theirs", settings.theirs)
    found = gpus()
    device = settings.device if settings.device != AUTO else "cuda" if found else "cpu"
    tree = user_path(settings.upstream, "--upstream")
    upstream_training.check_tree(tree)
    text = user_path(settings.corpus, "--corpus")
    names = [settings.budget]
    if settings.budget == AUTO:
        memory = found[0].total_bytes if found and device == "cuda" else 0
        names = budgets.of_profile(settings.profile, device, memory, settings.time)
        _say(f"--profile {settings.profile}: {', '.join(names)}")
    if settings.short and not any(budgets.BUDGETS[name].short for name in names):
        _say(f"--short: {', '.join(names)} has no shorter schedule, so nothing is added")
    whole = len(names) > 1
    return [
        Race(
            budget=budgets.BUDGETS[name],
            tree=tree,
            ref=upstream_training.commit(tree, settings.ref),
            corpus=text,
            corpus_id=corpus.identity(text),
            work=user_path(settings.work or results / "race", "--work"),
            device=device,
            sides=sides,
            missing=settings.missing,
            seeds=settings.seeds,
            timeout=settings.timeout,
            equal_time=settings.equal_time,
            second_start=settings.second_start,
            short=settings.short or whole,
            reliability=settings.reliability,
            kills_at_once=settings.kills_at_once,
            decode=settings.decode or (whole and name == budgets.DECODED),
            our_flags=our_flags,
            their_flags=their_flags,
        )
        for name in names
    ]


def _words(name: str, flags: str) -> list[str]:
    try:
        return shlex.split(flags)
    except ValueError as error:
        raise SettingsError([f"--{name} {flags!r} cannot be read as flags: {error}."]) from None


_NEEDED = {
    "upstream": "a work tree of karpathy/nanochat",
    "corpus": "a folder with train, val and heldout .jsonl.xz",
}


def _command(options: Options) -> str:
    """What makes the report again, without this machine's paths."""
    hidden = {"upstream": "UPSTREAM", "corpus": "CORPUS", "work": "WORK"}
    words = [PROGRAM, "--no-ui", "bench", options.words["what"]]
    for name, value in options.settings.items():
        shown = str(value).lower() if value is None or isinstance(value, bool) else value
        words.append(f"{_flag(name)}={hidden.get(name, shown)}")
    return shlex.join(words)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@contextlib.contextmanager
def _stage(title: str) -> Iterator["Hear"]:
    """A process while it runs: a line that is painted over on a terminal, else one every few seconds."""
    started = shown = time.monotonic()
    painted = can_repaint()
    _say(title)

    def hear(seconds: float, line: str) -> None:
        nonlocal shown
        text = f"  {seconds:5.0f} s  {line}"[:_WIDEST]
        if painted:
            repaint(text)
        elif time.monotonic() - shown > _LINE_INTERVAL:
            shown = time.monotonic()
            _say(text)

    try:
        yield hear
    finally:
        if painted:
            repaint("")
        _say(f"  {time.monotonic() - started:5.1f} s in all")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_written(paths: list[Path]) -> None:
    print(f"written: {', '.join(str(_relative(path)) for path in paths)}", file=sys.stderr)


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
