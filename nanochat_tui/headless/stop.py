"""stop: stop a running run after it has written a checkpoint."""

import sys
import time

from engines.runs import control, liveness
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import named_running_run

_POLL_INTERVAL = 0.05  # seconds
_MESSAGE_INTERVAL = 1.0  # seconds


def stop(options: Options) -> int:
    """Request a stop, and wait until the run has written a checkpoint and ended."""
    run = named_running_run(options)
    control.send_request(run.control_dir, "stop")
    started = last_message = time.monotonic()
    while liveness.is_lock_held(run.lock_path):
        time.sleep(_POLL_INTERVAL)
        now = time.monotonic()
        if now - last_message >= _MESSAGE_INTERVAL:
            last_message = now
            waited = f"{now - started:.0f} s"
            print(f"waiting for run {run.id} to finish its step and its checkpoint ({waited})", file=sys.stderr)
    print(f"run {run.id} stopped; resume with: nanochat-tui --no-ui resume {run.id}", file=sys.stderr)
    return 0
