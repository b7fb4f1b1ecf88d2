"""What can be ordered of a study: why not, what to ask first, and how it is done."""

import dataclasses
import threading
from functools import partial
from pathlib import Path

from engines.ablation import tables
from engines.ablation.plan import Plan
from engines.ablation.study import Study, create_study, start_queue
from engines.errors import UserError
from engines.runs.watch import WatchedRun
from screens.ablate.studies import Reading, StudyRow
from screens.shared import run_actions
from screens.shared.run_actions import RunAction
from screens.state import AppState


def cancel(watch: WatchedRun) -> RunAction:
    """End the queue; what is in training ends after a checkpoint."""
    question = f"Cancel the rest of {watch.run.id}? What trains stops after a checkpoint; r goes on with it later."
    return dataclasses.replace(run_actions.stop(watch), question=question, verb="cancel")


def resume(row: StudyRow) -> RunAction:
    """Let a paused queue go on; start another for a study whose queue has ended."""
    if row.state == "paused":
        return run_actions.pause_or_resume(row.watch)
    if row.watch.is_live:
        raise UserError(f"{row.study.id} lives already.")
    if row.plan is None:
        raise UserError(f"{row.study.id} cannot go on: {row.problem}")
    if row.state == "finished":
        raise UserError(f"{row.study.id} is finished; R plans another like it.")
    return RunAction(partial(_go_on, row.study))


def export(reading: Reading) -> RunAction:
    """Write tables and report of what is known so far, against the study's own base."""
    if not reading.results:
        raise UserError(f"{reading.row.study.id} has no result to write yet.")
    return RunAction(partial(_export, reading))


def begin(state: AppState, plan: Plan) -> Study:
    """A new study, its queue started. UserError if that cannot be."""
    study = create_study(state.results, plan)
    _start(study)
    return study


def _start(study: Study) -> None:
    try:
        queue = start_queue(study)
    except OSError as error:
        raise UserError(f"{study.id} could not be started: {error.strerror}.") from None
    threading.Thread(target=queue.wait, daemon=True).start()  # else it would stay a zombie when it ends


def _go_on(study: Study) -> str:
    _start(study)
    return f"{study.id} goes on with what is missing"


def _export(reading: Reading) -> str:
    study, plan = reading.row.study, reading.row.plan
    assert plan
    try:
        paths = tables.write_all_tables(study, plan, reading.results)
    except (OSError, ArithmeticError) as error:
        raise UserError(f"the tables of {study.id} could not be written: {error}") from None
    from engines.reports.document import default_path, write_document  # a screen opens sooner without it

    page = write_document([study], default_path(study.results, study))[0]
    return f"written: {page} with its plots, {study.path}/table.* and {Path(paths[0]).with_suffix('.*')}"
