"""Find the results directory and the run that the options of a command name."""

from pathlib import Path

from engines.errors import UserError
from engines.runs import liveness
from engines.runs.lookup import find_run, resolve_results_dir
from engines.runs.own_runs import find_own_run
from engines.runs.store import Run
from nanochat_tui.commands import Options


def results_of(options: Options) -> Path:
    """Return the results directory: --results-dir, else that of the environment or the user config, else ./results."""
    configured = options.user_config.results if options.user_config else None
    return resolve_results_dir(options.arguments["results_dir"], configured)


def named_run(options: Options) -> Run:
    """Return the run to read. Raises UserError if there is none, or several match."""
    return find_run(options.arguments["run"], results_of(options))


def named_own_run(options: Options) -> Run:
    """Return the run to change, which must be in the results directory. Raises UserError if it is not found."""
    return find_own_run(options.arguments["run"], results_of(options))


def named_running_run(options: Options) -> Run:
    """Return the run to control. Raises UserError if it is not running."""
    run = named_own_run(options)
    if not liveness.is_lock_held(run.lock_path):
        raise UserError(f"run {run.id} is not running; `nanochat-tui --no-ui runs` shows the state of every run.")
    return run
