"""Repeats a recorded run: a new run with the same settings, decisions and number of steps."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines.checkpoints.files import copy_checkpoint
from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.checkpoints.retention import IntactSteps
from engines.errors import UserError
from engines.events import Event
from engines.reproduce.compare import EvalScores, TrainingRecord
from engines.runs import manifest
from engines.runs.checked_json import read_json, write_checked_json
from engines.runs.decisions import get_choices_by_setting, parse_recorded_decisions
from engines.runs.history import History
from engines.runs.reader import EventReader
from engines.runs.store import Run
from engines.settings.train import TrainSettings
from engines.training.create_run import create_resolved_run

_MIN_KEEP_LAST = 3  # the newest checkpoint of a killed run may be two before the last one of a finished run
_MACHINE_GUARDS = ("guard_throughput", "guard_memory")  # depend on the machine, not on training: here they only warn
_FACTS = ("vocab_size", "train_tokens", "val_tokens", "parameters")


class RecordedRun(NamedTuple):
    """Everything that a run has recorded.

    `engines`: the decisions of each start for its machine. `last`: the last step that can be repeated.
    """

    run: Run
    config: dict[str, Any]
    history: History
    engines: list[Event]
    lines: list[tuple[float, bytes]]  # time and line of each event
    last: int
    progress: list[float]  # of each step in the order of training, also of undone ones; NaN where it was not recorded


class ResumePoint(NamedTuple):
    """A checkpoint to continue from, and the events up to it."""

    folder: Path  # of the checkpoint, whose step is the parent's
    lines: list[bytes]
    parent: dict[str, Any]  # for the manifest


def read_recorded_run(run: Run) -> RecordedRun:
    """Read a run's manifest and events."""
    history, engines, lines = History(), [], []
    undone: list[tuple[int, int]] = []  # steps at which rollbacks began, and to which they led
    progress: list[float] = []
    dispatched = [0]  # for each step of the history: number of steps made by then, including undone ones
    reader = EventReader(run.events_path)
    for line, event in reader.poll():
        lines.append((event["t"], line))
        if event["kind"] == "engine":
            engines.append(event)
        elif event["kind"] == "resumed" and event["reason"] == "rollback":
            undone.append((history.step, event["from_step"]))
        elif event["kind"] == "resumed":  # its checkpoint may be older than the rollback
            undone = [(reached, back_to) for reached, back_to in undone if back_to < event["from_step"]]
        history.apply([event])
        if event["kind"] == "resumed":
            del dispatched[event["from_step"] + 1 :]
            if event["reason"] != "rollback":  # a checkpoint does not count steps after it
                del progress[dispatched[-1] :]
        for index in range(len(dispatched) - 1, history.step):
            progress.append(history.progress[index] if index < len(history.progress) else math.nan)
            dispatched.append(len(progress))
    history.count_damage(reader)
    if reader.problem:
        raise UserError(f"run {run.id} cannot be reproduced: {reader.problem}")
    # A run that rolled back and ended before that step: training to its last step does not roll back.
    unreachable = (back_to for reached, back_to in undone if reached > history.step)
    return RecordedRun(run, run.config, history, engines, lines, min(unreachable, default=history.step), progress)


def build_record(recorded: RecordedRun, last: int) -> TrainingRecord:
    """Return the numbers to compare, up to step `last`."""
    history, folder = recorded.history, recorded.run.checkpoints_of(recorded.config)
    return TrainingRecord(
        history.losses[:last],
        {
            event["step"]: EvalScores(_nan_if_none(event["loss"]), _nan_if_none(event["bpb"]))
            for event in _filter_until(last, history.evals)
        },
        {event["step"]: event["prompt"] + event["text"] for event in _filter_until(last, history.samples)},
        {
            step: sha256
            for step in list_steps(folder)
            if step <= last and (sha256 := _read_weights_sha256(folder, step))
        },
        _describe_environment(recorded),
        history.missing,
    )


def derive_settings(recorded: RecordedRun, changes: Mapping[str, Any]) -> TrainSettings:
    """Return the settings of a recorded run, with every `auto` as it was decided then, and with `changes`.

    No time budget or target ends the new run: `create_replay` sets its last step and its recorded progress.
    """
    values = manifest.read_resolved_settings(recorded.config) | {
        "time_budget": None,
        "target_bpb": None,
        "checkpoint_dir": None,
    }
    if recorded.engines and "device" not in changes:
        values |= parse_recorded_decisions(recorded.engines[0])
    if values["keep_last"]:
        values["keep_last"] = max(values["keep_last"], _MIN_KEEP_LAST)
    values |= {name: "warn" for name in _MACHINE_GUARDS if values[name] == "halt"}
    return TrainSettings(**{**values, **changes})


def create_replay(
    recorded: RecordedRun, last: int, settings: TrainSettings, results: Path, start: ResumePoint | None
) -> Run:
    """Create a run with these settings up to step `last`, without starting it. Its manifest names the original."""
    given = {**recorded.config["given"], "data": settings.data}
    if settings.val_data:
        given["val_data"] = settings.val_data
    origin: dict[str, Any] = {
        "reproduces": recorded.run.id,
        "schedule": recorded.config.get("schedule", 1),
        "stop_at": last,
    }
    follows_progress = not all(map(math.isnan, recorded.progress))
    if follows_progress:
        origin["replays_progress"] = True
    if start:
        origin["parent"] = start.parent

    def fill(run: Run) -> None:
        if follows_progress:
            values = [None if math.isnan(value) else value for value in recorded.progress]
            write_checked_json(run.progress_path, {"v": 1, "progress": values})
        if start:
            copy_checkpoint(start.folder, start.parent["step"], run.checkpoints_dir)
            run.events_path.write_bytes(b"".join(line + b"\n" for line in start.lines))

    return create_resolved_run(settings, given, results, origin, fill)


def find_kept_start(recorded: RecordedRun) -> ResumePoint | None:
    """Return the checkpoint that a forked run began with, if the run or its parent still has it intact."""
    parent = recorded.config["parent"]
    for folder in (recorded.run.checkpoints_of(recorded.config), _find_checkpoints(find_parent(recorded))):
        if folder and parent["step"] in list_steps(folder) and parent["step"] in IntactSteps(folder):
            # events that the run copied from its parent are older than its own
            lines = [line for t, line in recorded.lines if t <= parent["seconds"]]
            return ResumePoint(folder, lines, parent)
    return None


def get_end_point(recorded: RecordedRun) -> ResumePoint:
    """Return the last step of a run as the point to continue from."""
    origin = {"run": recorded.run.id, "step": recorded.last, "seconds": recorded.history.last_t}
    return ResumePoint(recorded.run.checkpoints_of(recorded.config), [line for _, line in recorded.lines], origin)


def find_parent(recorded: RecordedRun) -> Run | None:
    """Return the run that this one was forked from, if it still exists in the same results directory."""
    run = Run(recorded.run.path.parent / recorded.config["parent"]["run"])
    return run if run.config_path.exists() else None


def _find_checkpoints(run: Run | None) -> Path | None:
    try:
        return run.checkpoints_dir if run else None
    except (UserError, KeyError):
        return None


# --- the environment ------------------------------------------------------------------------------


def _describe_environment(recorded: RecordedRun) -> dict[str, str]:
    code, hardware = recorded.config.get("code", {}), recorded.config.get("hardware", {})
    facts = recorded.config.get("facts", {})
    found = {
        "nanochat-tui": code.get("nanochat_tui"),
        "commit": code.get("commit"),
        "python": _join_words(code.get("implementation"), code.get("python")),
        "system": hardware.get("system"),
        "processor": hardware.get("processor"),
        **{name.replace("_", " "): facts.get(name) for name in _FACTS},
    }
    if recorded.config["resolved"].get("mode") == "tensor":
        found |= _describe_engines(recorded)
    return {name: str(value) for name, value in found.items() if value is not None}


def _describe_engines(recorded: RecordedRun) -> dict[str, str | None]:
    """Return the engine's decisions; those of a run that was resumed on another machine are joined by `, then`."""
    requested = recorded.config["resolved"]
    columns: dict[str, list[str]] = {}
    for engine in recorded.engines:
        chosen = get_choices_by_setting(engine)
        values = {
            "torch": engine.get("torch"),
            "gpu": engine["gpu"],
            **{name: chosen.get(name, requested.get(name)) for name in ("device", "dtype", "compile", "threads")},
            "micro-batch": chosen.get("micro-batch", requested.get("micro_batch")),
        }
        for name, value in values.items():
            if value is not None:
                columns.setdefault(name, []).append(str(value))
    return {name: ", then ".join(dict.fromkeys(column)) for name, column in columns.items()}


def _join_words(*words: str | None) -> str | None:
    return " ".join(filter(None, words)) or None


def _filter_until(last: int, events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event["step"] <= last]


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value


def _read_weights_sha256(folder: Path, step: int) -> str | None:
    """Return the hash that the checkpoint recorded; None if it cannot be read."""
    try:
        state = read_json(get_checkpoint_path(folder, step) / "state.json")
        return str(state["sha256"]["model.safetensors"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
