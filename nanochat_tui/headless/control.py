"""stop, pause, rm: asking a live run, deleting a dead one."""

import sys
import time

from engines.errors import UserError
from engines.runs import control, liveness
from engines.runs.lookup import results_dir
from engines.runs.own_runs import find_own_run, remove_run, require_run
from engines.runs.reader import EventReader
from engines.runs.store import Run
from nanochat_tui.commands import Options

_POLL_INTERVAL = 0.05
_PATIENCE = 10.0  # seconds for an answer; a run looks every 50 ms, but a long step or evaluation comes first
_NOTICE_INTERVAL = 1.0


def stop(options: Options) -> int:
    """Ask, then wait for the checkpoint and the end."""
    run = _live_run(options)
    control.request(run.control_dir, "stop")
    started = noticed = time.monotonic()
    while liveness.lock_is_held(run.lock_path):
        time.sleep(_POLL_INTERVAL)
        if time.monotonic() - noticed >= _NOTICE_INTERVAL:
            noticed = time.monotonic()
            _say(f"waiting for run {run.id} to finish its step and its checkpoint ({noticed - started:.0f} s)")
    _say(f"run {run.id} stopped; go on with: nanochat-tui --no-ui resume {run.id}")
    return 0


def pause(options: Options) -> int:
    """Ask, then wait for the answer."""
    run = _live_run(options)
    request = control.request(run.control_dir, "pause")
    reader = EventReader(run.events_path)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for _, event in reader.poll():
            if event["kind"] == "control" and event["request"] == request.name:
                _say(f"run {run.id} is paused; go on with: nanochat-tui --no-ui resume {run.id}")
                return 0
        if not liveness.lock_is_held(run.lock_path):
            raise UserError(f"run {run.id} ended before it could pause.")
        time.sleep(_POLL_INTERVAL)
    _say(f"run {run.id} has not answered yet; it will pause after its current step")
    return 0


def rm(options: Options) -> int:
    """Delete runs that are not running, after confirmation. --yes needs full names, as nobody confirms a prefix."""
    results, certain = results_dir(options.words["results_dir"]), options.words["yes"]
    doomed = list(dict.fromkeys(find_own_run(word, results, exact=certain) for word in options.words["run"]))
    for run in doomed:
        require_run(run)
        if liveness.lock_is_held(run.lock_path):
            raise UserError(f"run {run.id} is live; stop it first.")
    if not certain and not _confirmed(doomed):
        _say("nothing was deleted")
        return 1
    for run in doomed:
        _say(remove_run(run))
    return 0


def _live_run(options: Options) -> Run:
    run = find_own_run(options.words["run"], results_dir(options.words["results_dir"]))
    if not liveness.lock_is_held(run.lock_path):
        raise UserError(f"run {run.id} is not live.")
    return run


def _confirmed(runs: list[Run]) -> bool:
    names = ", ".join(run.id for run in runs)
    if not sys.stdin.isatty():
        raise UserError(f"deleting {names} needs a yes: add --yes.")
    for run in runs:
        _say(str(run.path))
    print(f"delete {names} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
