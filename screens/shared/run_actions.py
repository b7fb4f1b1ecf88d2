"""Actions on a run: pause, resume, stop, request a checkpoint, write a report, delete.

Each function takes a run and returns the action, or raises UserError with the reason why it is not possible.
"""

import dataclasses
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from engines.errors import UserError
from engines.runs import control, liveness
from engines.runs.launch import launch
from engines.runs.own_runs import delete_run
from engines.runs.store import Run
from engines.runs.watch import WatchedRun


@dataclasses.dataclass(frozen=True)
class RunAction:
    """An action that may be executed, after a confirmation if there is a `question`.

    `execute` may block; it returns a message for the user, or raises UserError. `verb` is the label of the button.
    """

    execute: Callable[[], str]
    question: str = ""
    verb: str = ""


def pause_or_resume(watch: WatchedRun) -> RunAction:
    """Pause an active run, or resume a paused one."""
    _require_active(watch)
    return RunAction(partial(_request, watch.run, "resume" if watch.history.paused else "pause"))


def stop(watch: WatchedRun) -> RunAction:
    """Stop an active run after it has written a checkpoint."""
    _require_active(watch)
    return RunAction(partial(_request, watch.run, "stop"), f"Stop {watch.run.id} after a checkpoint?", "Stop")


def resume(watch: WatchedRun) -> RunAction:
    """Resume a paused run, or start a worker for one that has ended."""
    if watch.state == "paused":
        return pause_or_resume(watch)
    if watch.is_live:
        raise UserError(f"{watch.run.id} is already running.")
    if watch.state == "finished":
        raise UserError(f"{watch.run.id} is finished. Press R to start another run with its settings.")
    _require_settings(watch, "resumed")
    return RunAction(partial(_resume, watch.run))


def request(verb: str, watch: WatchedRun) -> RunAction:
    """Request a checkpoint, an evaluation or a sample now."""
    _require_active(watch)
    return RunAction(partial(_request, watch.run, verb))


def write_report(watch: WatchedRun) -> RunAction:
    """Write the report of a run as it stands, with its plots."""
    _require_settings(watch, "reported")
    return RunAction(partial(_write_report, watch.run))


def delete(watch: WatchedRun, results: Path) -> RunAction:
    """Delete a run of this results directory; runs of other directories are only shown."""
    run = watch.run
    if run.results != results:
        raise UserError(
            f"{run.id} is in {run.results}; to delete it, run: nanochat-tui rm --results-dir {run.results} {run.id}"
        )
    if watch.is_live:
        raise UserError(f"{run.id} is running. Press S to stop it first.")
    return RunAction(partial(_delete, run), f"Delete {run.id} permanently?", "Delete")


def start(run: Run) -> None:
    """Start a worker for the run. Raises UserError if that fails."""
    worker = launch(run)
    threading.Thread(target=worker.wait, daemon=True).start()  # an ended worker that is not waited for stays a zombie


def _require_active(watch: WatchedRun) -> None:
    if not watch.is_live:
        key = "R to start another run with its settings" if watch.state == "finished" else "r to resume it"
        raise UserError(f"{watch.run.id} is not running. Press {key}.")


def _require_settings(watch: WatchedRun, participle: str) -> None:
    if not watch.part("resolved"):
        raise UserError(f"{watch.run.id} cannot be {participle}: {watch.problem or 'its settings are unknown.'}")


def _request(run: Run, verb: str) -> str:
    if not liveness.is_lock_held(run.lock_path):
        raise UserError(f"{run.id} has ended; {verb} was not requested.")
    control.send_request(run.control_dir, verb)
    return f"{verb.capitalize()} requested: {run.id}"


def _delete(run: Run) -> str:
    message = delete_run(run)
    return f"{message[:1].upper()}{message[1:]}"


def _resume(run: Run) -> str:
    start(run)
    return f"{run.id} resumes from its last checkpoint."


def _write_report(run: Run) -> str:
    from engines.reports.document import default_path, write_document  # imported late, so that screens open sooner
    from engines.runs.record import read_record

    page = write_document([record := read_record(run)], default_path(run.path.parent.parent, record))[0]
    return f"Report written: {page}, with its plots"
