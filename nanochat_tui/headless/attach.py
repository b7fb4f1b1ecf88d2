"""attach: follow a run that is running, or replay one that has ended."""

from nanochat_tui.commands import Options
from nanochat_tui.headless.follow_run import follow_run
from nanochat_tui.headless.lookup import named_run


def attach(options: Options) -> int:
    """Show all events of a run from its start, and new ones until it ends."""
    return follow_run(named_run(options), None, options)
