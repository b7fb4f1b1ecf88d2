"""Continue a run with other settings as a new run, which begins with a copy of its parent's events and checkpoint."""

import math
from collections.abc import Mapping
from typing import Any

from engines.checkpoints.files import copy_checkpoint, find_newest_intact
from engines.errors import SettingsError, UserError
from engines.runs.history import History, read_resumable_history
from engines.runs.store import Run
from engines.settings.fields import fields
from engines.settings.requirements import flag_of
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.training.create_run import create_run
from engines.training.resumption import is_fixed


def fork_run(parent: Run, changes: Mapping[str, Any], mark: Mapping[str, Any] | None = None) -> Run:
    """Create a run from the parent's newest intact checkpoint, without starting it. `mark` is added to its manifest.

    Raises SettingsError if a change is not possible, and UserError if the parent cannot be continued.
    """
    _require_changeable(changes)
    config = parent.config
    step, complaints = find_newest_intact(parent.checkpoints_dir)
    if step is None:
        raise UserError(
            f"run {parent.id} cannot be continued: no intact checkpoint in {parent.checkpoints_dir}. "
            "Start a new run with `train --config`. " + " ".join(complaints)
        )
    if changes.get("steps", step + 1) <= step:
        raise SettingsError(
            [f"--steps {changes['steps']:,} must be greater than {step:,}, the last step of run {parent.id}."]
        )
    lines: list[bytes] = []
    history = read_resumable_history(parent, lines)
    given = {**config["given"], **{name: config["resolved"][name] for name in _list_path_settings(config)}, **changes}
    if mark is None:  # the queue of a study sets the budgets of its runs
        _require_work(parent, resolve(given), step, history)
    origin = {"run": parent.id, "step": step, "seconds": history.last_t, "damaged": complaints}
    results = parent.path.parent.parent
    past = {"parent": origin, "facts": config["facts"], "hardware": config["hardware"]}

    def fill(run: Run) -> None:
        copy_checkpoint(parent.checkpoints_dir, step, run.checkpoints_dir)
        run.events_path.write_bytes(b"".join(line + b"\n" for line in lines))

    return create_run(given, results, {**past, **(mark or {})}, fill)


def _require_changeable(changes: Mapping[str, Any]) -> None:
    known = fields(TrainSettings)
    problems = [
        f"{known[name].flag} cannot be changed when a run is resumed. Start a new run with `train --config`."
        for name in changes
        if is_fixed(name)
    ]
    if problems:
        raise SettingsError(problems)


def _require_work(parent: Run, settings: TrainSettings, step: int, history: History) -> None:
    """Raise SettingsError for budgets that are used up at this step: the fork would be a copy with other settings."""
    used = {
        "steps": step,
        "tokens": step * settings.tokens_per_step,
        "time_budget": math.fsum(seconds for seconds in history.seconds[:step] if not math.isnan(seconds)),
    }
    budgets = {name: getattr(settings, name) for name in used}
    spent = [name for name, budget in budgets.items() if budget is not None and used[name] >= budget]
    problems = [
        f"{flag_of(name)} {budgets[name]:,} is used up at step {step:,}, the checkpoint of run {parent.id} to continue "
        f"from. Give a larger {flag_of(name)}."
        for name in spent
    ]
    if problems:
        raise SettingsError(problems)


def _list_path_settings(config: Mapping[str, Any]) -> list[str]:
    """Return settings that may have been typed as relative paths, in another directory."""
    return [name for name in ("data", "val_data") if name in config["given"]]
