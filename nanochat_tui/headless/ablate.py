"""ablate, studies: make a study or find one, follow it, and print its table."""

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
from engines.runs.lookup import results_dir
from engines.runs.snapshot import damage_sentences, read_snapshot
from engines.settings.fields import fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import JsonLines, Presenter, follow, signals_held
from nanochat_tui.headless.train import print_detached
from nanochat_tui.streams import console, print_json

_COME_BACK = "ablate --resume"
_REQUESTS = ("pause", "stop")


def ablate(options: Options) -> int:
    """A new study, or one that is there, followed to its end unless --detach."""
    for verb in _REQUESTS:
        if options.words[verb] is not None:
            return _ask(options.words[verb], verb, options)
    if options.words["resume"] is not None:
        study = _find(options.words["resume"], options)
        _refuse_changes(options)
    else:
        plan = _plan(options)
        for warning in find_unused_base_settings(plan):
            print(f"warning: {warning}", file=sys.stderr)
        study = create_study(results_dir(options.words["results_dir"]), plan)
    with signals_held():
        process = _wake(study)
        if options.words["detach"]:
            print_detached(options, "study", study)
            return 0
        return _follow(study, process, options)


def studies(options: Options) -> int:
    """A line for each study, oldest first."""
    results = results_dir(options.words["results_dir"])
    found = list_visible_studies(results)
    rows = [row for study in found if (row := _row(study))]
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


def _row(study: Study) -> dict[str, Any] | None:
    """None for one whose plan cannot be read; that is told."""
    try:
        plan = study.plan
    except UserError as error:
        print(error, file=sys.stderr)
        return None
    state, history, _ = read_snapshot(study)
    for damage in damage_sentences(study, history, "study"):
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


# --- what is asked for ------------------------------------------------------------------------------


def _plan(options: Options) -> Plan:
    """From a file and from flags, which win; every mistake is told at once."""
    problems: list[str] = []
    asked, axes = StudyRequest({}, {}, {}), {}
    try:
        if options.words["config"]:
            asked = read_study_file(Path(options.words["config"]))
    except SettingsError as error:
        problems += error.problems
    try:
        axes = parse_axes(options.words["axis"] or [])
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems)
    of_runs, of_study = _split(options.settings)
    return make_plan(asked.given | of_runs, asked.axes | axes, asked.options | of_study)


def _split(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    known = fields(TrainSettings)
    runs = {name: value for name, value in settings.items() if name in known}
    return runs, {name: value for name, value in settings.items() if name not in known}


def _refuse_changes(options: Options) -> None:
    """A study's plan is what makes its comparisons fair."""
    changed = [name for name in ("axis", "config") if options.words[name]] + list(options.settings)
    if changed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        raise SettingsError(
            [f"a study goes on with the plan it began with, without {flags}; start a new one with them."]
        )


def _find(word: str, options: Options) -> Study:
    return find_own_study(word, results_dir(options.words["results_dir"]))


def _wake(study: Study) -> Any:
    """Start a queue where there is none; ask one that waits to go on."""
    if not liveness.lock_is_held(study.lock_path):
        return start_queue(study)
    if read_history(study).paused:
        control.request(study.control_dir, "resume")
    return None


def _ask(word: str, verb: str, options: Options) -> int:
    study = _find(word, options)
    if not liveness.lock_is_held(study.lock_path):
        raise UserError(f"{study.id} is not live.")
    control.request(study.control_dir, verb)
    print(f"asked {study.id} to {verb}; go on with: nanochat-tui --no-ui {_COME_BACK} {study.id}", file=sys.stderr)
    return 0


# --- following ----------------------------------------------------------------------------------------


class _Lines:
    """A line for each run that begins or ends."""

    def __init__(self) -> None:
        self._progress = StudyProgress()

    def show(self, line: bytes, event: Event, history: History) -> None:
        self._progress.apply([event])
        if text := _sentence(event):
            left = self._progress.estimate_seconds_left()
            self.say(text + (f"  eta {format_duration(left)}" if left and event["kind"] == "phase" else ""))

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


def _sentence(event: Event) -> str:
    if event["kind"] == "control":
        return f"     {event['verb']}: {event['outcome']}"
    cell = event.get("cell")
    if event["kind"] != "phase" or cell is None:
        return ""
    rung = f" rung {cell['rung'] + 1}" if cell["rung"] else ""
    told = f"{event['done']:>5}/{event['total']}  {cell['cell']} seed {cell['seed']}{rung}: {cell['state']}"
    if cell["state"] == "running":
        return f"{told}  (run {cell['run']})"
    bpb = "" if cell["val_bpb"] is None else f"  {cell['val_bpb']:.4f} bpb"
    seconds = "" if cell["seconds"] is None else f"  {cell['seconds']:.1f} s"
    return f"{told}{bpb}{seconds}" + (f"  {cell['detail']}" if cell["detail"] else "")


def _follow(study: Study, process: Any, options: Options) -> int:
    presenter: Presenter = JsonLines() if options.json else _Lines()
    if not options.json:
        plan = study.plan
        presenter.say(
            f"{study.id} in {study.path}: {len(plan.cells)} cells × {len(plan.seeds)} seeds, {plan.total} runs"
        )
        for one in plan.dropped:
            presenter.say(f"     not trained: {one.name}: {one.reason}")
    state, ended, code = follow(study, process, presenter, _COME_BACK)
    if state == "running":
        return code
    _say_how_it_ended(study, state, ended)
    if not options.json:
        _print_table(study, ended)
    return code


def _say_how_it_ended(study: Study, state: str, ended: Event | None) -> None:
    again = f"go on with: nanochat-tui --no-ui {_COME_BACK} {study.id}"
    if ended is None:
        print(f"{study.id} {state}: its queue died without a last word ({study.log_path}); {again}", file=sys.stderr)
    elif state == "crashed":
        print(f"{study.id} crashed: {ended['detail']}; {again}", file=sys.stderr)
    elif state == "stopped":
        print(f"{study.id} stopped; {again}", file=sys.stderr)


def _print_table(study: Study, ended: Event | None) -> None:
    """The ancestor's line and table, with our columns behind; a table for eyes on a terminal."""
    plan = study.plan
    results: dict[Any, RunResult] = load_results(study, plan)
    for damage in describe_study_damage(study, read_history(study), results.values()):
        print(damage, file=sys.stderr)
    analysis = analyse(plan, results)
    if sys.stdout.isatty():
        _print_for_eyes(analysis)
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


def _print_for_eyes(analysis: Analysis) -> None:
    from rich.table import Table

    from engines.ablation.formatting import format_difference, format_spread, format_verdict

    table = Table("", "variant", "val bpb", "against the base", "p", "verdict", box=None, pad_edge=False)
    for rank, cell in enumerate(analysis.cells, 1):
        p = "" if cell.p_corrected is None else f"{cell.p_corrected:.2g}"
        figures = format_spread(cell.val_bpb), format_difference(cell.difference)
        table.add_row(str(rank), visible_line(cell.name), *figures, p, visible_line(format_verdict(cell)))
    terminal = console(sys.stdout)
    terminal.print(table)
    print(
        f"{analysis.comparisons} comparisons with {analysis.base}; "
        "p and 95 % intervals of paired differences are corrected by Holm"
    )
