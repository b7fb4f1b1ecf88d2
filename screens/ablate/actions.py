"""Actions on a study: stop, resume, export, start. Each function returns the action, or raises UserError with the
reason why it is not possible."""

import dataclasses
import threading
from functools import partial
from pathlib import Path

from engines.ablation import tables
from engines.ablation.plan import Plan
from engines.ablation.study import Study, create_study, start_queue
from engines.errors import UserError
from engines.runs.watch import WatchedRun
from screens.ablate.reader import StudyRow, StudySnapshot
from screens.shared import run_actions
from screens.shared.run_actions import RunAction


def stop(watch: WatchedRun) -> RunAction:
    """Stop the queue of a study, and its runs after a checkpoint."""
    question = f"Stop {watch.run.id}? Its runs stop after a checkpoint; press r to resume the study later."
    return dataclasses.replace(run_actions.stop(watch), question=question)


def resume(row: StudyRow) -> RunAction:
    """Resume a paused queue, or start one for a study whose queue has ended."""
    if row.state == "paused":
        return run_actions.pause_or_resume(row.watch)
    if row.watch.is_live:
        raise UserError(f"{row.study.id} is already running.")
    if row.plan is None:
        raise UserError(f"{row.study.id} cannot be resumed: {row.problem}")
    if row.state == "finished":
        raise UserError(f"{row.study.id} is finished. Press R to plan another study with its settings.")
    return RunAction(partial(_resume, row.study))


def write_report(snapshot: StudySnapshot) -> RunAction:
    """Write tables and report of the results so far, compared with the study's own base."""
    if not snapshot.results:
        raise UserError(f"{snapshot.row.study.id} has no results to report yet.")
    return RunAction(partial(_write_report, snapshot))


def start_study(results: Path, plan: Plan) -> Study:
    """Create a study and start its queue. Raises UserError if that fails."""
    study = create_study(results, plan)
    _start_queue(study)
    return study


def _start_queue(study: Study) -> None:
    try:
        queue = start_queue(study)
    except OSError as error:
        raise UserError(f"{study.id} could not be started: {error.strerror}.") from None
    threading.Thread(target=queue.wait, daemon=True).start()  # an ended queue that is not waited for stays a zombie


def _resume(study: Study) -> str:
    _start_queue(study)
    return f"{study.id} resumes: it trains what is missing."


def _write_report(snapshot: StudySnapshot) -> str:
    study, plan = snapshot.row.study, snapshot.row.plan
    assert plan
    try:
        paths = tables.write_all_tables(study, plan, snapshot.results)
    except (OSError, ArithmeticError) as error:
        raise UserError(f"the tables of {study.id} could not be written: {error}") from None
    from engines.reports.document import default_path, write_document  # imported late, so that screens open sooner

    page = write_document([study], default_path(study.results, study))[0]
    copies = Path(paths[0]).with_suffix(".*")
    return f"Report written: {page}, with its plots. Tables written: {study.path}/table.*, {copies}"
