"""rm: delete runs that are not running, after confirmation."""

import sys
from collections.abc import Sequence

from engines.errors import UserError
from engines.runs import liveness
from engines.runs.own_runs import delete_run, find_own_run, require_run
from engines.runs.store import Run
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import results_of


def rm(options: Options) -> int:
    """Delete runs. Return 1 if the user declines. --yes needs full run ids: a prefix must be confirmed."""
    is_confirmed = options.arguments["yes"]
    results = results_of(options)
    found = [find_own_run(word, results, exact=is_confirmed) for word in options.arguments["run"]]
    runs = list(dict.fromkeys(found))
    for run in runs:
        require_run(run)
        if liveness.is_lock_held(run.lock_path):
            raise UserError(f"run {run.id} is running. Stop it first: nanochat-tui --no-ui stop {run.id}")
    if not is_confirmed and not _confirm(runs):
        print("nothing was deleted", file=sys.stderr)
        return 1
    for run in runs:
        print(delete_run(run), file=sys.stderr)
    return 0


def _confirm(runs: Sequence[Run]) -> bool:
    """Ask on the terminal, and return the answer. Raises UserError if stdin is not a terminal."""
    names = ", ".join(run.id for run in runs)
    if not sys.stdin.isatty():
        raise UserError(f"cannot delete {names}: confirmation needs a terminal. Add --yes.")
    for run in runs:
        print(run.path, file=sys.stderr)
    print(f"Delete {names}? This cannot be undone. [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
