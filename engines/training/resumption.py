"""Checks that a run can continue exactly where it ended: its checkpoints, settings and tokenizer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from engines.checkpoints.files import Checkpoint, load_newest_metadata
from engines.errors import UserError
from engines.runs.checked_json import PATH_SETTINGS
from engines.runs.history import History
from engines.runs.store import Run
from engines.settings.fields import fields
from engines.settings.train import TrainSettings

_FIXED_GROUPS = ("model", "gpt", "data")
_FIXED = ("optimizer", "batch_size")  # the meaning of a checkpoint's optimizer state and position depends on these


class ResumeInfo(NamedTuple):
    """The tokenizer of the newest checkpoint, and sentences for the user."""

    tokenizer: dict[str, Any]
    notes: list[str]


def is_fixed(name: str) -> bool:
    """Return whether a setting cannot change while a run, or a fork of it, continues."""
    return fields(TrainSettings)[name].group in _FIXED_GROUPS or name in _FIXED


def check_resumable(run: Run, config: Mapping[str, Any], history: History) -> ResumeInfo | None:
    """Return the tokenizer to continue with; None if the run never had a checkpoint and starts from step 0.

    Raises UserError if its checkpoints are damaged or missing, or if they were written with other settings.
    """
    folder = run.checkpoints_of(config)
    found, complaints = load_newest_metadata(folder)
    recorded = [event["step"] for event in history.checkpoints]
    parent = config.get("parent")
    if parent:
        recorded.append(parent["step"])
    if found is None:
        if complaints:
            raise UserError(f"run {run.id} cannot be resumed: no checkpoint is intact. {' '.join(complaints)}")
        if recorded:
            raise UserError(
                f"run {run.id} cannot be resumed: no checkpoint was found in {folder}, although one at step "
                f"{max(recorded)} was recorded. Mount or restore the folder, or start a new run with `train --config`."
            )
        return None
    require_same_settings(run, config, found)
    step = found.progress["step"]
    notes = []
    if parent and parent["step"] == step:
        notes = parent.get("damaged", [])
    elif recorded and max(recorded) > step and not complaints:
        notes = [
            f"the checkpoint of step {max(recorded)} was not found in {folder}: the run continues from step {step}."
        ]
    return ResumeInfo(found.tokenizer, notes)


def require_same_settings(run: Run, config: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Raise UserError unless a checkpoint was written with the settings of the run's manifest.

    Paths may differ: the hash of the text is compared instead. A fork begins with its parent's checkpoint, whose other
    settings may differ as well.
    """
    ours, theirs = config["resolved"], checkpoint.settings
    is_parents = config.get("parent", {}).get("step") == checkpoint.progress["step"]
    known = fields(TrainSettings).keys()
    names = sorted(
        name
        for name in ours.keys() | theirs.keys()
        if name not in PATH_SETTINGS and (not is_parents or (name in known and is_fixed(name)))
    )
    different = [
        f"{name} is {ours.get(name)!r} and was {theirs.get(name)!r}"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
    if different:
        raise UserError(
            f"run {run.id} cannot be resumed: its config.json does not have the settings that it was trained with: "
            f"{', '.join(different)}. Restore config.json, or start a new run with `train --config`."
        )
