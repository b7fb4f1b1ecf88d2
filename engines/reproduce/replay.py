"""A run made from the manifest of another, to train the same again: same settings, same decisions, as many steps."""

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

_KEEP_LAST = 3  # at least: the newest checkpoint of a killed run may be two before the last one of a whole run
_BY_THE_CLOCK = ("guard_throughput", "guard_memory")  # judge the machine, not the training: here they only warn
_FACTS = ("vocab_size", "train_tokens", "val_tokens", "parameters")


class RecordedRun(NamedTuple):
    """All that a run has recorded. `engines`: what each start decided for its machine. `last`: the last step that
    training again can reach in the same way."""

    run: Run
    config: dict[str, Any]
    history: History
    engines: list[Event]
    lines: list[tuple[float, bytes]]  # time and line of each event
    last: int
    progress: list[float]  # of each step in the order of training, also of undone ones; NaN where it was not recorded


class ResumePoint(NamedTuple):
    """A checkpoint to go on from, and the events up to it."""

    folder: Path  # of the checkpoint, whose step is the parent's
    lines: list[bytes]
    parent: dict[str, Any]  # for the manifest


def read_recorded_run(run: Run) -> RecordedRun:
    """Read a run's manifest and events."""
    history, engines, lines = History(), [], []
    undone: list[tuple[int, int]] = []  # steps that a roll-back came from, and went to
    progress: list[float] = []
    dispatched = [0]  # for each step that counts: how many were made by then, with those that were rolled back
    reader = EventReader(run.events_path)
    for line, event in reader.poll():
        lines.append((event["t"], line))
        if event["kind"] == "engine":
            engines.append(event)
        elif event["kind"] == "resumed" and event["reason"] == "rollback":
            undone.append((history.step, event["from_step"]))
        elif event["kind"] == "resumed":  # its checkpoint may be older than the roll-back, and not know of it
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
    # A run that rolled back and died before it was as far again: training to its last step would not roll back.
    unreachable = (back_to for reached, back_to in undone if reached > history.step)
    return RecordedRun(run, run.config, history, engines, lines, min(unreachable, default=history.step), progress)


def build_record(past: RecordedRun, last: int) -> TrainingRecord:
    """What there is to compare up to step `last`."""
    history, folder = past.history, past.run.checkpoints_of(past.config)
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
        _describe_environment(past),
        history.missing,
    )


def derive_settings(past: RecordedRun, changes: Mapping[str, Any]) -> TrainSettings:
    """Return the run's own settings, with every `auto` as it was decided then.

    Neither clock nor target ends it: `replay_run` sets its last step and, if it was recorded, its progress.
    """
    values = manifest.read_resolved_settings(past.config) | {
        "time_budget": None,
        "target_bpb": None,
        "checkpoint_dir": None,
    }
    if past.engines and "device" not in changes:
        values |= parse_recorded_decisions(past.engines[0])
    if values["keep_last"]:
        values["keep_last"] = max(values["keep_last"], _KEEP_LAST)
    values |= {name: "warn" for name in _BY_THE_CLOCK if values[name] == "halt"}
    return TrainSettings(**{**values, **changes})


def create_replay(
    past: RecordedRun, last: int, settings: TrainSettings, results: Path, beginning: ResumePoint | None
) -> Run:
    """Create a run of these settings up to step `last`, without starting it; its manifest names the original."""
    given = {**past.config["given"], "data": settings.data}
    if settings.val_data:
        given["val_data"] = settings.val_data
    origin: dict[str, Any] = {"reproduces": past.run.id, "schedule": past.config.get("schedule", 1), "stop_at": last}
    follows_progress = not all(map(math.isnan, past.progress))
    if follows_progress:
        origin["replays_progress"] = True
    if beginning:
        origin["parent"] = beginning.parent

    def fill(run: Run) -> None:
        if follows_progress:
            values = [None if math.isnan(value) else value for value in past.progress]
            write_checked_json(run.progress_path, {"v": 1, "progress": values})
        if beginning:
            copy_checkpoint(beginning.folder, beginning.parent["step"], run.checkpoints_dir)
            run.events_path.write_bytes(b"".join(line + b"\n" for line in beginning.lines))

    return create_resolved_run(settings, given, results, origin, fill)


def find_kept_start(past: RecordedRun) -> ResumePoint | None:
    """Return the checkpoint that a forked run began with, if the run or its parent still has it intact."""
    parent = past.config["parent"]
    for folder in (past.run.checkpoints_of(past.config), _find_checkpoints(find_parent(past))):
        if folder and parent["step"] in list_steps(folder) and parent["step"] in IntactSteps(folder):
            # what the run copied from its parent is older than its own beginning
            lines = [line for t, line in past.lines if t <= parent["seconds"]]
            return ResumePoint(folder, lines, parent)
    return None


def get_end_point(past: RecordedRun) -> ResumePoint:
    """To go on where a run ended."""
    origin = {"run": past.run.id, "step": past.last, "seconds": past.history.last_t}
    return ResumePoint(past.run.checkpoints_of(past.config), [line for _, line in past.lines], origin)


def find_parent(past: RecordedRun) -> Run | None:
    """The run that this one was forked from, if it is still there: a fork lies beside its parent."""
    run = Run(past.run.path.parent / past.config["parent"]["run"])
    return run if run.config_path.exists() else None


def _find_checkpoints(run: Run | None) -> Path | None:
    try:
        return run.checkpoints_dir if run else None
    except (UserError, KeyError):
        return None


# --- the environment ------------------------------------------------------------------------------


def _describe_environment(past: RecordedRun) -> dict[str, str]:
    code, hardware = past.config.get("code", {}), past.config.get("hardware", {})
    facts = past.config.get("facts", {})
    found = {
        "nanochat-tui": code.get("nanochat_tui"),
        "commit": code.get("commit"),
        "python": _join_words(code.get("implementation"), code.get("python")),
        "system": hardware.get("system"),
        "processor": hardware.get("processor"),
        **{name.replace("_", " "): facts.get(name) for name in _FACTS},
    }
    if past.config["resolved"].get("mode") == "tensor":
        found |= _describe_engines(past)
    return {name: str(value) for name, value in found.items() if value is not None}


def _describe_engines(past: RecordedRun) -> dict[str, str | None]:
    """A run that was resumed elsewhere has had several, told one after the other."""
    asked = past.config["resolved"]
    columns: dict[str, list[str]] = {}
    for engine in past.engines:
        chosen = get_choices_by_setting(engine)
        told = {
            "torch": engine.get("torch"),
            "gpu": engine["gpu"],
            **{name: chosen.get(name, asked.get(name)) for name in ("device", "dtype", "compile", "threads")},
            "micro-batch": chosen.get("micro-batch", asked.get("micro_batch")),
        }
        for name, value in told.items():
            if value is not None:
                columns.setdefault(name, []).append(str(value))
    return {name: ", then ".join(dict.fromkeys(values)) for name, values in columns.items()}


def _join_words(*words: str | None) -> str | None:
    return " ".join(filter(None, words)) or None


def _filter_until(last: int, events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event["step"] <= last]


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value


def _read_weights_sha256(folder: Path, step: int) -> str | None:
    """As the checkpoint recorded it; None where that cannot be read."""
    try:
        state = read_json(get_checkpoint_path(folder, step) / "state.json")
        return str(state["sha256"]["model.safetensors"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
