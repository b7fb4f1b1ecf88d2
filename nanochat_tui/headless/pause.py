"""pause: pause a running run."""

import sys
import time

from engines.errors import UserError
from engines.runs import control, liveness
from engines.runs.reader import EventReader
from engines.runs.snapshot import read_snapshot
from engines.runs.store import Run
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import named_running_run

_POLL_INTERVAL = 0.05  # seconds
_TIMEOUT = 10.0  # seconds; a run checks for requests every 50 ms, but only after a long step or evaluation


def pause(options: Options) -> int:
    """Request a pause, and wait until the run reports it. Raises UserError if the run ends before.

    A run that is already paused reads no further request to pause.
    """
    run = named_running_run(options)
    if read_snapshot(run)[0] == "paused":
        print(f"run {run.id} is already paused; resume with: nanochat-tui --no-ui resume {run.id}", file=sys.stderr)
        return 0
    request = control.send_request(run.control_dir, "pause").name
    if _wait_for_answer(run, request):
        print(f"run {run.id} is paused; resume with: nanochat-tui --no-ui resume {run.id}", file=sys.stderr)
    else:
        print(f"pause requested for run {run.id}; it will pause after its current step", file=sys.stderr)
    return 0


def _wait_for_answer(run: Run, request: str) -> bool:
    """Return whether the run has logged the request before the timeout."""
    reader = EventReader(run.events_path)
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        if any(event["kind"] == "control" and event["request"] == request for _, event in reader.poll()):
            return True
        if not liveness.is_lock_held(run.lock_path):
            raise UserError(f"run {run.id} ended before it could pause.")
        time.sleep(_POLL_INTERVAL)
    return False
