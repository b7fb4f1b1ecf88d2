"""The commands `ablate` and `studies`: create or resume a study, follow it, and print its table."""

import sys
from pathlib import Path
from typing import Any

from engines.ablation.analysis import Analysis, analyse
from engines.ablation.plan import Plan, find_unused_base_settings, make_plan
from engines.ablation.progress import StudyProgress
from engines.ablation.results import RunResult
from engines.ablation.study import (
    Study,
    create_study,
    describe_study_damage,
    find_own_study,
    list_visible_studies,
    load_results,
    start_queue,
)
from engines.ablation.study_file import StudyRequest, parse_axes, read_study_file
from engines.ablation.tables import build_summary_rows, render_csv
from engines.errors import SettingsError, UserError
from engines.events import Event
from engines.output.terminal_text import visible_line
from engines.output.units import format_age, format_duration
from engines.runs import control, liveness
from engines.runs.history import History, read_history
from engines.runs.snapshot import describe_damage, read_snapshot
from engines.settings.fields import fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import follow, hold_signals, print_detached
from nanochat_tui.headless.given import apply_preset, choose_preset
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.presenters import JsonLines, Presenter
from nanochat_tui.streams import console, print_json

_RESUME_COMMAND = "ablate --resume"
_REQUESTS = ("pause", "stop")


def ablate(options: Options) -> int:
    """Create or resume a study and follow it to its end; with --detach, start it and return."""
    for verb in _REQUESTS:
        if options.arguments[verb] is not None:
            return _send_request(options.arguments[verb], verb, options)
    if options.arguments["resume"] is not None:
        study = _find(options.arguments["resume"], options)
        _refuse_changes(options)
    else:
        plan, origin = build_plan(options)
        for warning in find_unused_base_settings(plan):
            print(f"warning: {warning}", file=sys.stderr)
        study = create_study(results_of(options), plan, origin)
    with hold_signals():
        process = _start_or_resume(study)
        if options.arguments["detach"]:
            print_detached(options, "study", study)
            return 0
        return _follow(study, process, options)


def studies(options: Options) -> int:
    """Print one line per study, the oldest first."""
    results = results_of(options)
    found = list_visible_studies(results)
    rows = [row for study in found if (row := _build_row(study))]
    if not rows and not options.json:
        print("no studies yet; start one with: nanochat-tui --no-ui ablate", file=sys.stderr)
    for row in rows:
        if options.json:
            print_json(row)
        else:
            folder = Path(row["path"]).parent.parent
            age = format_age(row["created_at"])
            elsewhere = "" if folder == results else f"  in {folder}"
            print(
                f"{liveness.GLYPHS[row['state']]} {row['study']}  {row['state']}  {row['done']}/{row['total']} runs  "
                f"{row['cells']} cells of {', '.join(row['axes'])}  {age}{elsewhere}"
            )
    return 0


def _build_row(study: Study) -> dict[str, Any] | None:
    """Return the values of a study's line, or None after printing why its plan cannot be read."""
    try:
        plan = study.plan
    except UserError as error:
        print(error, file=sys.stderr)
        return None
    state, history, _ = read_snapshot(study)
    for damage in describe_damage(study, history, "study"):
        print(damage, file=sys.stderr)
    phase = history.phases[-1] if history.phases else {"done": 0}
    return {
        "study": study.id,
        "path": str(study.path),
        "state": state,
        "done": phase["done"],
        "total": plan.total,
        "cells": len(plan.cells),
        "seeds": len(plan.seeds),
        "axes": [axis.name for axis in plan.axes],
        "created_at": study.created_at,
        "unreadable": history.damage or None,
    }


# --- requests ---------------------------------------------------------------------------------------


def build_plan(options: Options) -> tuple[Plan, dict[str, Any]]:
    """Build the plan of a new study from preset, --config and flags, later ones override earlier.

    Also return the entry for plan.json that names the preset. Raises SettingsError with all problems.
    """
    problems: list[str] = []
    request, axes = StudyRequest({}, {}, {}), {}
    try:
        if options.arguments["config"]:
            request = read_study_file(Path(options.arguments["config"]))
    except SettingsError as error:
        problems += error.problems
    try:
        axes = parse_axes(options.arguments["axis"] or [])
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems)
    run_settings, study_options = _split_settings(options.settings)
    given = apply_preset(choose_preset(options, request.preset), request.given | run_settings)
    plan = make_plan(given.settings, request.axes | axes, request.options | study_options)
    return plan, given.origin


def _split_settings(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split settings into those of the runs and those of the study."""
    known = fields(TrainSettings)
    of_runs = {name: value for name, value in settings.items() if name in known}
    return of_runs, {name: value for name, value in settings.items() if name not in known}


def _refuse_changes(options: Options) -> None:
    """Raise SettingsError if a resumed study is given settings: its cells must stay comparable."""
    changed = [name for name in ("axis", "preset", "config") if options.arguments[name]] + list(options.settings)
    if changed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        raise SettingsError(
            [f"--resume cannot be combined with {flags}: a study keeps its plan. Start a new study instead."]
        )


def _find(word: str, options: Options) -> Study:
    return find_own_study(word, results_of(options))


def _start_or_resume(study: Study) -> Any:
    """Start a queue and return its process, or request a resume from a paused queue and return None."""
    if not liveness.is_lock_held(study.lock_path):
        return start_queue(study)
    if read_history(study).paused:
        control.send_request(study.control_dir, "resume")
    return None


def _send_request(word: str, verb: str, options: Options) -> int:
    """Request a pause or stop from the queue of a study."""
    study = _find(word, options)
    if not liveness.is_lock_held(study.lock_path):
        raise UserError(
            f"study {study.id} is not running; `nanochat-tui --no-ui studies` shows the state of every study."
        )
    control.send_request(study.control_dir, verb)
    print(f"{verb} requested for study {study.id}; {_describe_resume(study)}", file=sys.stderr)
    return 0


# --- following ----------------------------------------------------------------------------------------


class _StudyLines:
    """Prints one line per run that starts or ends, with the ETA of the study."""

    def __init__(self) -> None:
        self._progress = StudyProgress()

    def show(self, line: bytes, event: Event, history: History) -> None:
        self._progress.apply([event])
        if text := _format_event(event):
            left = self._progress.estimate_seconds_left()
            self.print_message(text + (f"  ETA {format_duration(left)}" if left and event["kind"] == "phase" else ""))

    def print_message(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


def _format_event(event: Event) -> str:
    """Format an event that concerns the user, or return an empty string."""
    if event["kind"] == "control":
        return f"     {event['verb']}: {event['outcome']}"
    cell = event.get("cell")
    if event["kind"] != "phase" or cell is None:
        return ""
    rung = f" rung {cell['rung'] + 1}" if cell["rung"] else ""
    text = f"{event['done']:>5}/{event['total']}  {cell['cell']} seed {cell['seed']}{rung}: {cell['state']}"
    if cell["state"] == "running":
        return f"{text}  (run {cell['run']})"
    bpb = "" if cell["val_bpb"] is None else f"  {cell['val_bpb']:.4f} bpb"
    seconds = "" if cell["seconds"] is None else f"  {cell['seconds']:.1f} s"
    return f"{text}{bpb}{seconds}" + (f"  {cell['detail']}" if cell["detail"] else "")


def _follow(study: Study, process: Any, options: Options) -> int:
    presenter: Presenter = JsonLines() if options.json else _StudyLines()
    if not options.json:
        plan = study.plan
        presenter.print_message(
            f"{study.id} in {study.path}: {len(plan.cells)} cells × {len(plan.seeds)} seeds, {plan.total} runs"
        )
        for one in plan.dropped:
            presenter.print_message(f"     not trained: {one.name}: {one.reason}")
    state, ended, code = follow(study, process, presenter, _RESUME_COMMAND)
    if state == "running":
        return code
    _print_ending(study, state, ended)
    if not options.json:
        _print_table(study, ended)
    return code


def _print_ending(study: Study, state: str, ended: Event | None) -> None:
    """Print how a study ended that did not finish, and how to resume it."""
    if ended is None:
        reason = f": its queue exited unexpectedly (log: {study.log_path})"
    elif state == "crashed":
        reason = f": {ended['detail']}"
    elif state == "stopped":
        reason = ""
    else:
        return
    print(f"study {study.id} {state}{reason}; {_describe_resume(study)}", file=sys.stderr)


def _describe_resume(study: Study) -> str:
    return f"resume it with: nanochat-tui --no-ui {_RESUME_COMMAND} {study.id}"


def _print_table(study: Study, ended: Event | None) -> None:
    """Print a summary line and CSV, in the format of the Rust program; on a terminal, a formatted table."""
    plan = study.plan
    results: dict[Any, RunResult] = load_results(study, plan)
    for damage in describe_study_damage(study, read_history(study), results.values()):
        print(damage, file=sys.stderr)
    analysis = analyse(plan, results)
    if sys.stdout.isatty():
        _print_terminal_table(analysis)
        print(f"report: {study.path / 'table.md'}")
        return
    tables = {Path(path).suffix: path for path in (ended or {}).get("tables", [])}
    mode = resolve(plan.given).mode
    print(
        f"mode={mode} ablate variants={len(plan.cells)} csv={tables.get('.csv', 'none')} "
        f"jsonl={tables.get('.jsonl', 'none')} md={tables.get('.md', 'none')} study={study.id} "
        f"comparisons={analysis.comparisons}"
    )
    print(render_csv(build_summary_rows(plan, analysis)))


def _print_terminal_table(analysis: Analysis) -> None:
    from rich.table import Table

    from engines.ablation.formatting import (
        format_comparisons,
        format_difference,
        format_p,
        format_spread,
        format_verdict,
    )

    table = Table("", "cell", "val bpb", "difference from base", "p", "verdict", box=None, pad_edge=False)
    for rank, cell in enumerate(analysis.cells, 1):
        values = format_spread(cell.val_bpb), format_difference(cell.difference), format_p(cell.p_corrected)
        table.add_row(str(rank), visible_line(cell.name), *values, visible_line(format_verdict(cell)))
    console(sys.stdout).print(table)
    print(
        f"{format_comparisons(analysis)} with {analysis.base}; p-values and 95 % confidence intervals of the paired "
        "differences are Holm-adjusted"
    )
