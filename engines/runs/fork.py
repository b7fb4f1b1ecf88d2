"""A run that goes on with other settings is a new run: it begins with a copy of its parent's past."""

import shutil
from collections.abc import Mapping
from typing import Any

from engines import checkpoints
from engines.config import TrainSettings
from engines.errors import LabError, SettingsError
from engines.fields import fields
from engines.runs.history import read_resumable
from engines.runs.launch import new_run
from engines.runs.store import Run

_FIXED_GROUPS = ("model", "data")
_FIXED = ("optimizer", "batch_size")  # what a checkpoint's optimizer state and position mean depends on these


def fork_run(parent: Run, changes: Mapping[str, Any], mark: Mapping[str, Any] | None = None) -> Run:
    """A new run, not started, on the parent's newest checkpoint; SettingsError names what cannot change.

    `mark` is added to its manifest.
    """
    _check(changes)
    config = parent.config
    steps = checkpoints.list_steps(parent.checkpoints_dir)
    if not steps:
        raise LabError(f"run {parent.id} has no checkpoint to go on from; start a new run with --config.")
    lines: list[bytes] = []
    history = read_resumable(parent, lines)
    given = {**config["given"], **{name: config["resolved"][name] for name in _paths(config)}, **changes}
    origin = {"run": parent.id, "step": steps[-1], "seconds": history.last_t}
    results = parent.path.parent.parent
    past = {"parent": origin, "facts": config["facts"], "hardware": config["hardware"]}
    run = new_run(given, results, {**past, **(mark or {})})
    run.checkpoints_dir.mkdir(parents=True)
    newest = checkpoints.path_of(parent.checkpoints_dir, steps[-1])
    shutil.copytree(newest, run.checkpoints_dir / newest.name)
    run.events_path.write_bytes(b"".join(line + b"\n" for line in lines))
    return run


def _check(changes: Mapping[str, Any]) -> None:
    known = fields(TrainSettings)
    problems = [
        f"{known[name].flag} cannot change while a run goes on; start a new run with --config."
        for name in changes
        if known[name].group in _FIXED_GROUPS or name in _FIXED
    ]
    if problems:
        raise SettingsError(problems)


def _paths(config: Mapping[str, Any]) -> list[str]:
    """Settings that were typed as relative paths, perhaps in another folder."""
    return [name for name in ("data", "val_data") if name in config["given"]]
