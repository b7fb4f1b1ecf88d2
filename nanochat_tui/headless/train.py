"""train, attach, resume: everything that ends in following a run."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.runs import control, liveness
from engines.runs.checked_json import read_checked_json
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.lookup import find_run, results_dir
from engines.runs.own_runs import find_own_run
from engines.runs.store import Run
from engines.settings.applicability import warnings_about
from engines.settings.resolve import resolve
from engines.training.create_run import create_run
from nanochat_tui.commands import Options
from nanochat_tui.headless.event_text import Bar, Lines, result_line
from nanochat_tui.headless.follow import JsonLines, Presenter, follow, signals_held
from nanochat_tui.streams import can_repaint, print_json


def train(options: Options) -> int:
    """A new run, followed to its end unless --detach."""
    given = given_settings(options)
    run = create_run(given, results_dir(options.words["results_dir"]))
    warn_without_effect(given, run)
    with signals_held():
        process = launch(run)
        if options.words["detach"]:
            print_detached(options, "run", run)
            return 0
        _say(options, f"run {run.id} in {run.path}")
        return _follow(run, process, options)


def attach(options: Options) -> int:
    """Show a run from its beginning, and what it does from now on."""
    run = find_run(options.words["run"], results_dir(options.words["results_dir"]))
    return _follow(run, None, options)


def resume(options: Options) -> int:
    """Resume a paused run, or start a worker where the last one ended; with settings, continue as a new run."""
    with signals_held():
        was_paused = _is_paused(find_own_run(options.words["run"], results_dir(options.words["results_dir"])))
        run, process = resume_or_fork(options)
        if options.settings:
            _say(options, f"run {run.id} in {run.path}")
        if process is None:
            running = f"run {run.id} is already running; follow it with: nanochat-tui --no-ui attach {run.id}"
            _say(options, f"resume requested for run {run.id}" if was_paused else running)
            return 0 if options.words["detach"] else _follow(run, None, options)
        if options.words["detach"]:
            print_detached(options, "run", run)
            return 0
        return _follow(run, process, options)


def _is_paused(run: Run) -> bool:
    return liveness.lock_is_held(run.lock_path) and liveness.state(run, read_history(run)) == "paused"


def resume_or_fork(options: Options) -> tuple[Run, subprocess.Popen[bytes] | None]:
    """Resume a run or, with settings, fork it; return the run, and its worker if one was started."""
    run = find_own_run(options.words["run"], results_dir(options.words["results_dir"]))
    if options.settings:
        from engines.training.fork import fork_run  # reads checkpoints, which a plain resume leaves to the worker

        run = fork_run(run, options.settings)
        warn_without_effect(options.settings, run)
    return run, wake(run, options)


def print_detached(options: Options, kind: str, started: Run) -> None:
    """Print the name of a run or study that continues in the background."""
    if options.json:
        print_json({kind: started.id, "path": str(started.path)})
    else:
        print(started.id)


def wake(run: Run, options: Options) -> subprocess.Popen[bytes] | None:
    """Ask a live run to go on, or start a worker on one that is not, and return that."""
    if liveness.lock_is_held(run.lock_path):
        control.request(run.control_dir, "resume")
        return None
    if liveness.state(run, read_history(run)) == "finished" and not options.settings:
        raise UserError(f"run {run.id} is finished; give it more to do: nanochat-tui --no-ui resume {run.id} --steps N")
    return launch(run)


def warn_without_effect(given: Mapping[str, Any], run: Run) -> None:
    """Print a sentence for each given setting that has no effect on the run."""
    for warning in warnings_about(given, resolve(run.config["given"])):
        print(f"warning: {warning}", file=sys.stderr)


def given_settings(options: Options) -> dict[str, Any]:
    """What was asked for: in a file, and by flags, which win."""
    return _from_file(options) | options.settings


def _from_file(options: Options) -> dict[str, Any]:
    if not options.words["config"]:
        return {}
    from engines.settings.files import read_config_file  # a TOML parser, and 10 ms, that most runs do without

    return read_config_file(Path(options.words["config"]))


def _follow(run: Run, process: Any, options: Options) -> int:
    state, ended, code = follow(run, process, presenter(options.json, run.config["resolved"]["steps"]))
    if state == "running":
        return code
    _say_how_it_ended(run, state, ended)
    if not options.json and run.summary_path.exists() and (result := _result(run)):
        print(result, flush=True)
    return code


def _result(run: Run) -> str:
    """The line about how a run came out; empty where it had not begun to train."""
    try:
        summary = read_checked_json(run.summary_path)
        return result_line(run.config, summary) if "steps" in summary else ""
    except (ValueError, TypeError, KeyError, OverflowError):
        again = f"what the run reached is told by: nanochat-tui --no-ui show {run.id}"
        raise UserError(f"{run.summary_path} is damaged; {again}") from None


def presenter(as_json: bool, steps: int) -> Presenter:
    """How to show a run here."""
    if as_json:
        return JsonLines()
    if can_repaint():
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
        raise UserError(ended["detail"])
    elif state == "crashed":
        print(f"run {run.id} crashed: {ended['detail']}; {run.events_path} has the traceback", file=sys.stderr)
    elif state == "halted":
        print(f"run {run.id} halted: {ended['detail']}", file=sys.stderr)
    elif state == "stopped":
        print(f"run {run.id} stopped at step {ended['step']}; {again}", file=sys.stderr)
    elif ended["detail"]:
        print(f"run {run.id} finished: {ended['detail']}", file=sys.stderr)
