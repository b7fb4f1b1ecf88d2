"""train: start a new run and follow it."""

from engines.runs.launch import launch
from engines.training.create_run import create_run
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import hold_signals, print_detached
from nanochat_tui.headless.follow_run import follow_run, print_run_path
from nanochat_tui.headless.given import collect_settings, print_warnings
from nanochat_tui.headless.long_run import print_long_run
from nanochat_tui.headless.lookup import results_of


def train(options: Options) -> int:
    """Start a new run and follow it to its end; with --detach, print its id and return."""
    given = collect_settings(options)
    run = create_run(given.settings, results_of(options), given.origin)
    print_warnings(given.settings, run)
    with hold_signals():
        process = launch(run)
        print_long_run(run)
        if options.arguments["detach"]:
            print_detached(options, "run", run)
            return 0
        print_run_path(run, options)
        return follow_run(run, process, options)
