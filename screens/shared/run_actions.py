"""What can be ordered of a run: why not, what to ask first, and how it is done."""

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
class Order:
    """`carry_out` may take a while; it returns what to say, or raises UserError. With a question, ask it first."""

    carry_out: Callable[[], str]
    question: str = ""
    verb: str = ""


# Each takes a run and gives back an order, or raises UserError with the reason why there is none.


def pause_or_go_on(watch: WatchedRun) -> Order:
    """Hold a live run, or let a held one go."""
    _demand_life(watch)
    verb, words = ("resume", "go on") if watch.history.paused else ("pause", "pause")
    return Order(partial(_request, watch.run, verb, words))


def stop(watch: WatchedRun) -> Order:
    _demand_life(watch)
    words = "stop after a checkpoint"
    return Order(partial(_request, watch.run, "stop", words), f"Stop {watch.run.id} after a checkpoint?", "stop")


def resume(watch: WatchedRun) -> Order:
    """Let a paused run go on; start a worker on one that has ended."""
    if watch.state == "paused":
        return pause_or_go_on(watch)
    if watch.is_live:
        raise UserError(f"{watch.run.id} lives already.")
    if watch.state == "finished":
        raise UserError(f"{watch.run.id} is finished; R starts another with its settings.")
    if not watch.part("resolved"):
        raise UserError(f"{watch.run.id} cannot go on: {watch.problem or 'its settings are not known.'}")
    return Order(partial(_go_on, watch.run))


def ask(verb: str, watch: WatchedRun) -> Order:
    """A checkpoint, an evaluation or a sample, now."""
    _demand_life(watch)
    return Order(partial(_request, watch.run, verb, f"make a {verb}" if verb != "evaluate" else verb))


def report(watch: WatchedRun) -> Order:
    """Write the page about a run, as it stands, with its plots."""
    if not watch.part("resolved"):
        raise UserError(f"{watch.run.id} cannot be reported: {watch.problem or 'its settings are not known.'}")
    return Order(partial(_report, watch.run))


def delete(watch: WatchedRun, results: Path) -> Order:
    """Delete a run of this results directory; runs of other directories are only shown."""
    run = watch.run
    if run.results != results:
        raise UserError(f"{run.id} is in {run.results}; delete it with: nanochat-tui runs --results-dir {run.results}")
    if watch.is_live:
        raise UserError(f"{run.id} is running; press S to stop it first.")
    return Order(partial(delete_run, run), f"Delete {run.id} for good?", "delete")


def _demand_life(watch: WatchedRun) -> None:
    if not watch.is_live:
        again = "R starts another" if watch.state == "finished" else "r goes on with it"
        raise UserError(f"{watch.run.id} does not run; {again}.")


# --- doing it ---------------------------------------------------------------------------------------


def _request(run: Run, verb: str, words: str) -> str:
    if not liveness.is_lock_held(run.lock_path):
        raise UserError(f"{run.id} has ended meanwhile.")
    control.send_request(run.control_dir, verb)
    return f"asked {run.id} to {words}"


def start(run: Run) -> None:
    """Start a worker. UserError if that cannot be."""
    worker = launch(run)
    threading.Thread(target=worker.wait, daemon=True).start()  # else it would stay a zombie when it ends


def _go_on(run: Run) -> str:
    start(run)
    return f"{run.id} goes on from its last checkpoint"


def _report(run: Run) -> str:
    from engines.reports.document import usual_path, write_document  # a screen opens sooner without it
    from engines.runs.record import read_record

    page = write_document([record := read_record(run)], usual_path(run.path.parent.parent, record))[0]
    return f"written: {page} with its plots"
