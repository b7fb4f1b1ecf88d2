"""resume: resume a run that was paused, stopped or killed; with settings, continue it as a new run."""

import subprocess
import sys

from engines.errors import UserError
from engines.runs import control, liveness
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import hold_signals, print_detached
from nanochat_tui.headless.follow_run import follow_run, print_run_path
from nanochat_tui.headless.given import print_warnings
from nanochat_tui.headless.lookup import named_own_run


def resume(options: Options) -> int:
    """Resume a run, or fork it if settings are given, and follow it unless --detach is given."""
    with hold_signals():
        was_paused = _is_paused(named_own_run(options))
        run, process = resume_or_fork(options)
        if options.settings:
            print_run_path(run, options)
        if process is None and not options.json:
            _print_already_running(run, was_paused)
        if not options.arguments["detach"]:
            return follow_run(run, process, options)
        if process is not None:
            print_detached(options, "run", run)
        return 0


def resume_or_fork(options: Options) -> "tuple[Run, subprocess.Popen[bytes] | None]":
    """Resume a run, or fork it if settings are given. Return the run, and its worker if one was started."""
    run = named_own_run(options)
    if options.settings:
        from engines.training.fork import fork_run  # reads checkpoints, which a plain resume leaves to the worker

        run = fork_run(run, options.settings)
        print_warnings(options.settings, run)
    return run, _continue_run(run, options)


def _continue_run(run: Run, options: Options) -> "subprocess.Popen[bytes] | None":
    """Request a running run to resume, or start a worker on one that is not running, and return that worker."""
    if liveness.is_lock_held(run.lock_path):
        control.send_request(run.control_dir, "resume")
        return None
    if liveness.derive_state(run, read_history(run)) == "finished" and not options.settings:
        raise UserError(
            f"run {run.id} is finished; train it for more steps with: nanochat-tui --no-ui resume {run.id} --steps N"
        )
    return launch(run)


def _is_paused(run: Run) -> bool:
    return liveness.is_lock_held(run.lock_path) and liveness.derive_state(run, read_history(run)) == "paused"


def _print_already_running(run: Run, was_paused: bool) -> None:
    follow = f"follow it with: nanochat-tui --no-ui attach {run.id}"
    text = f"resume requested for run {run.id}" if was_paused else f"run {run.id} is already running; {follow}"
    print(text, file=sys.stderr)
