"""Runs that a command may change: found only in its results directory, and deleted only if they are runs.

Commands that only read also search other directories (`store.find_run`): there a wrong name does no damage.
"""

import contextlib
import os
import shutil
from pathlib import Path

from engines.errors import UserError
from engines.files import format_os_error
from engines.runs.checked_json import CHECKPOINTS
from engines.runs.locking import acquire_lock
from engines.runs.lookup import (
    find_by_name,
    find_by_path,
    get_last_run,
    list_runs,
    list_used_results_dirs,
    require_name,
)
from engines.runs.store import Run

# files and folders that the program creates in a run's directory
_OWN_NAMES = {
    "config.json",
    "events.jsonl",
    "control",
    "run.lock",
    "worker.log",
    "summary.json",
    "samples",
    CHECKPOINTS,
}


def find_own_run(name: str, results: Path, exact: bool = False) -> Run:
    """Return the run of that id, unambiguous prefix or path, or the `last` one, in this results directory alone.

    With `exact` a prefix is not enough.
    """
    require_name(name)
    if run := find_by_path(name):
        return run
    if name == "last":
        return get_last_run(list_runs(results), results)
    found = find_by_name(name, results)
    if found is None:
        raise UserError(f"run {name!r} not found in {results}. {_suggest_directory(name)}")
    if exact and found.id != name:
        raise UserError(f"run {name!r} not found in {results}; did you mean {found.id}? Type the full id.")
    return found


def _suggest_directory(name: str) -> str:
    """Return another results directory that has a run of that name, or how to list all runs."""
    for root in list_used_results_dirs():
        with contextlib.suppress(UserError):  # of a directory that cannot be read, or of an ambiguous name
            if find_by_name(name, root):
                return f"There is one in {root}: add --results-dir {root}"
    return "List the runs with: nanochat-tui --no-ui runs"


def delete_run(run: Run) -> str:
    """Delete the run's directory and return a sentence about it. For a symbolic link, only the link is deleted;
    checkpoints in a --checkpoint-dir are kept.

    Raises UserError if it is running, not a run, or cannot be deleted.
    """
    try:
        if run.path.is_symlink():
            target = os.path.realpath(run.path)
            run.path.unlink()
            return f"deleted the link {run.id}; the run remains in {target}"
        if not run.path.exists():
            return f"run {run.id} was deleted already"
        require_run(run)
        elsewhere = _find_checkpoints_elsewhere(run)
        lock = acquire_lock(run)  # until the end, so that it cannot be resumed meanwhile
        try:
            shutil.rmtree(run.path)
        finally:
            os.close(lock)
    except OSError as error:
        raise UserError(
            f"run {run.id} cannot be deleted: {error.filename or run.path}: {format_os_error(error)}."
        ) from None
    return f"deleted run {run.id}" + (f"; its checkpoints remain in {elsewhere}" if elsewhere else "")


def require_run(run: Run) -> None:
    """Raise UserError unless the directory is a run by its manifest, or contains nothing but parts of one."""
    try:
        if _is_recorded(run) or run.path.is_symlink() or _is_part_of_run(run):  # of a link only the link is deleted
            return
    except OSError as error:
        raise UserError(
            f"run {run.id} cannot be deleted: {error.filename or run.path}: {format_os_error(error)}."
        ) from None
    raise UserError(
        f"{run.path} is not a run: its config.json or events.jsonl is not valid. Delete the folder yourself."
    )


def _is_recorded(run: Run) -> bool:
    try:
        _ = run.config
    except UserError:  # damaged, or never written
        return False
    return run.events_path.is_file()


def _is_part_of_run(run: Run) -> bool:
    """Return whether it is the remainder of a run after a crash: in the folder of runs, without foreign files."""
    names = os.listdir(run.path)
    partial = tuple(f".{name}" for name in _OWN_NAMES)
    foreign = [name for name in names if name not in _OWN_NAMES and not name.startswith(partial)]
    has_parts = not names or "control" in names or "config.json" in names
    return has_parts and not foreign and run.path.parent.name == "runs"


def _find_checkpoints_elsewhere(run: Run) -> str:
    try:
        folder = run.checkpoints_dir
    except (UserError, KeyError):
        return ""
    return "" if folder.is_relative_to(run.path) else str(folder)
