"""train, attach, resume: everything that ends in following a run."""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from engines import registry
from engines.config import BUILT_IN_CORPORA, TrainSettings, resolve
from engines.config_file import read_config_file
from engines.data.corpora import locate
from engines.errors import LabError
from engines.runs import control, liveness, manifest
from engines.runs.launch import launch
from engines.runs.store import Run, create_run, find_run, results_dir
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import JsonLines, Presenter, follow, leave_broken_pipe
from nanochat_tui.headless.lines import Bar, Lines, result_line


def train(options: Options) -> int:
    """A new run, followed to its end unless --detach."""
    from_file = read_config_file(Path(options.words["config"])) if options.words["config"] else {}
    given = from_file | options.settings
    settings = resolve(given)
    registry.available(settings.mode, settings.model_kind)
    for data in filter(None, (settings.data, settings.val_data)):
        if data not in BUILT_IN_CORPORA:
            locate(data)
    run = create_run(results_dir(options.words["results_dir"]), settings.checkpoint_dir, _manifest(given, settings))
    process = launch(run)
    if options.words["detach"]:
        print(json.dumps({"run": run.id, "path": str(run.path)}) if options.json else run.id)
        return 0
    _say(options, f"run {run.id} in {run.path}")
    return _follow(run, process, options)


def attach(options: Options) -> int:
    """Show a run from its beginning, and what it does from now on."""
    return _follow(_find(options), None, options)


def resume(options: Options) -> int:
    """Wake a paused run, or start a worker where the last one ended."""
    run = _find(options)
    if liveness.lock_is_held(run.lock_path):
        control.request(run.control_dir, "resume")
        _say(options, f"asked run {run.id} to go on")
        return 0 if options.words["detach"] else _follow(run, None, options)
    registry.available(run.config["resolved"]["mode"], run.config["resolved"]["model_kind"])
    process = launch(run)
    if options.words["detach"]:
        print(run.id)
        return 0
    return _follow(run, process, options)


def _find(options: Options) -> Run:
    return find_run(options.words["run"], results_dir(options.words["results_dir"]))


def _manifest(given: dict[str, Any], settings: TrainSettings) -> dict[str, Any]:
    """Paths are made absolute where they are kept: a resumed run may be started from another folder."""
    resolved = dataclasses.asdict(settings)
    for name in ("data", "val_data"):
        if resolved[name] and resolved[name] not in BUILT_IN_CORPORA:
            resolved[name] = str(Path(resolved[name]).expanduser().absolute())
    return {"given": given, "resolved": resolved, "seed": settings.seed, "code": manifest.code()}


def _follow(run: Run, process: Any, options: Options) -> int:
    try:
        state, history, code = follow(run, process, _presenter(options, run.config["resolved"]["steps"]))
        if state == "running":
            return code
        _say_how_it_ended(run, state, history.ended)
        if not options.json and run.summary_path.exists():
            summary = json.loads(run.summary_path.read_text())
            if "steps" in summary:
                print(result_line(run.config, summary), flush=True)
        return code
    except BrokenPipeError:
        return leave_broken_pipe()


def _presenter(options: Options, steps: int) -> Presenter:
    if options.json:
        return JsonLines()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Bar(steps)
    return Lines(steps)


def _say(options: Options, text: str) -> None:
    if not options.json:
        print(text, file=sys.stderr)


def _say_how_it_ended(run: Run, state: str, ended: dict[str, Any] | None) -> None:
    again = f"go on with: nanochat-tui --no-ui resume {run.id}"
    if ended is None or state == "killed":
        print(f"run {run.id} {state}: its worker died without a last word; {again}", file=sys.stderr)
    elif state == "crashed" and ended["traceback"] is None:
        raise LabError(ended["detail"])
    elif state == "crashed":
        print(f"run {run.id} crashed: {ended['detail']}; {run.events_path} has the traceback", file=sys.stderr)
    elif state == "halted":
        print(f"run {run.id} halted: {ended['detail']}", file=sys.stderr)
    elif state == "stopped":
        print(f"run {run.id} stopped at step {ended['step']}; {again}", file=sys.stderr)
    elif ended["detail"]:
        print(f"run {run.id} finished: {ended['detail']}", file=sys.stderr)
