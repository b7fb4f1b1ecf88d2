"""plan: what a training run would take, told before anything runs."""

import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines import registry
from engines.cost.machine import Machine, resolve_for_machine, this_machine
from engines.cost.memory import USABLE_MEMORY, choose_micro_batch, largest_micro_batch
from engines.cost.plan import Estimate, estimate
from engines.cost.vocab_size import missing_texts, preview_vocab_size
from engines.data.file_selection import files_in_words, locate_both
from engines.errors import SettingsError, UserError
from engines.output.units import format_bytes, format_duration
from engines.settings.applicability import warnings_about
from engines.settings.fields import AUTO, fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.system.gpus import gpus
from nanochat_tui.commands import Options
from nanochat_tui.streams import print_json

_DIALED = (
    "layers width heads kv_heads vocab_size batch_size steps warmup_fraction lr embedding_lr head_lr scalar_lr "
    "weight_decay"
).split()
_MARGIN = 14  # of the table's first column
_NARROWEST, _WIDTH_IN_A_PIPE = 60, 120


class _Place(NamedTuple):
    """Where the run would work."""

    machine: Machine
    name: str
    free_bytes: int | None  # None: not known


class _Plan(NamedTuple):
    settings: TrainSettings
    by_hand: set[str]
    place: _Place
    vocab_size: int
    vocab_guess: str
    estimate: Estimate
    rows: int  # worked on at once; 0 if none fits
    fitting: int | None  # the most that would fit; None if the memory is not known
    warnings: list[str]  # about given settings that have no effect
    files: list[str]  # sentences about the files that a folder or a pattern names


def plan(options: Options) -> int:
    """Print what a run would need, without torch; only the first megabytes of the text are read."""
    given = _from_file(options.words["config"]) | options.settings
    found = _plan(given, options.words["device_name"])
    if options.json:
        print_json(_as_json(found))
        return 0
    _print(_lines(found))
    return 0


def _from_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    from engines.settings.files import read_config_file  # a TOML parser, that most plans do without

    return read_config_file(Path(path))


def _plan(given: Mapping[str, Any], device_name: str | None) -> _Plan:
    asked = resolve(given)
    registry.available(asked.mode, asked.model_kind)
    if missing := missing_texts(asked):
        raise UserError(" ".join(missing.values()))
    place = _place(asked, device_name)
    settings = resolve_for_machine(asked, place.machine)
    vocab_size, guess = preview_vocab_size(settings)
    found = estimate(settings, vocab_size, place.machine)
    rows, fitting = _rows(settings, vocab_size, found, place)
    by_hand = {name for name, value in given.items() if value != AUTO}
    if settings.tokens is not None:
        by_hand.add("steps")  # which follow from them
    files = files_in_words(*locate_both(asked.data, asked.val_data))
    warnings = warnings_about(given, asked)
    return _Plan(settings, by_hand, place, vocab_size, guess, found, rows, fitting, warnings, files)


def _place(settings: TrainSettings, device_name: str | None) -> _Place:
    """The GPU that was named, else the first one here, else the processor."""
    if device_name is not None:
        if settings.mode == "scalar" or settings.device not in (AUTO, "cuda"):
            raise SettingsError(["--device-name is for a GPU; it needs --mode tensor and no other --device than cuda."])
        return _Place(this_machine(device_name), device_name, None)
    if settings.mode == "tensor" and settings.device in (AUTO, "cuda"):
        for gpu in gpus():
            return _Place(this_machine(gpu.name), gpu.name, gpu.free_bytes)
    if settings.device == "cuda":
        raise UserError("--device cuda: there is no NVIDIA GPU here; to plan for another machine's, add --device-name.")
    import psutil  # 20 ms, and only needed here

    machine = this_machine()
    name = "a Metal GPU" if settings.device == "mps" else f"a processor of {machine.cores} cores"
    return _Place(machine, name, psutil.virtual_memory().available)


def _rows(settings: TrainSettings, vocab_size: int, found: Estimate, place: _Place) -> tuple[int, int | None]:
    """Rows that would be worked on at once, and the most that would fit."""
    gpu = place.machine.gpu
    if place.free_bytes is None:
        return settings.micro_batch or choose_micro_batch(settings, vocab_size, sys.maxsize, gpu), None
    left = int(USABLE_MEMORY * (place.free_bytes - found.memory.fixed))
    fitting = largest_micro_batch(settings, vocab_size, left, gpu)
    if settings.mode == "scalar":
        return settings.batch_size, fitting
    return settings.micro_batch or choose_micro_batch(settings, vocab_size, left, gpu), fitting


def _as_json(found: _Plan) -> dict[str, Any]:
    told, rows = found.estimate, found.rows
    return {
        "device": found.place.name,
        "free_bytes": found.place.free_bytes,
        "vocab_size": found.vocab_size,
        "vocab_size_is_assumed": bool(found.vocab_guess),
        "parameters": told.parameter_count,
        "parameters_by_role": told.parameters,
        "flops_per_token": told.flops_per_token,
        "tokens_per_step": told.tokens_per_step,
        "steps": told.steps,
        "tokens": told.tokens,
        "flops": told.flops,
        "memory": {
            **dataclasses.asdict(told.memory),
            "micro_batch": rows,
            "largest_micro_batch": found.fitting,
            "total": told.memory.with_rows(rows) if rows else None,
        },
        "seconds": told.seconds,
        "assumption": told.assumption,
        "warnings": found.warnings,
        "files": found.files,
        "settings": dataclasses.asdict(found.settings),
    }


# --- the table ------------------------------------------------------------------------------------


def _print(lines: list[tuple[str, str]]) -> None:
    width = max(_NARROWEST, shutil.get_terminal_size((_WIDTH_IN_A_PIPE, 0)).columns)
    for name, text in lines:
        for part in textwrap.wrap(text, width - _MARGIN, break_on_hyphens=False):
            print(f"{name:<{_MARGIN}}{part}")
            name = ""


def _lines(found: _Plan) -> list[tuple[str, str]]:
    """Name and text of each line."""
    told, settings = found.estimate, found.settings
    rate = [] if settings.model_kind == "gpt" else _named(settings, ["lr"])  # the gpt's are further below
    return [
        ("model", _model(found)),
        ("parameters", f"{told.parameter_count:,}: {_listed(told.parameters)}"),
        ("arithmetic", f"{_flops(told.flops_per_token)} a token, forward and backward; {_flops(told.flops)} in all"),
        ("budget", f"{_steps(found)} of {told.tokens_per_step:,} tokens ({settings.batch_size:,} rows of "
                   f"{settings.context_length:,}): {told.tokens:,} tokens"),
        ("optimizer", ", ".join([settings.optimizer, *rate])),
        *(_dial(found) if settings.model_kind == "gpt" else []),
        *_memory(found),
        ("time", _time(found)),
        *(("files", sentence) for sentence in found.files),
        *(("warning", warning) for warning in found.warnings),
    ]  # fmt: skip


def _model(found: _Plan) -> str:
    settings = found.settings
    parts = [f"{settings.mode} {settings.model_kind}"]
    if settings.layers:
        size = settings.width // settings.heads
        parts += [f"layers {settings.layers}", f"width {settings.width}", f"heads {settings.heads} of {size}"]
    parts.append(f"vocabulary {found.vocab_size:,}" + (f" ({found.vocab_guess})" if found.vocab_guess else ""))
    return ", ".join(parts)


def _steps(found: _Plan) -> str:
    settings, steps = found.settings, f"{found.estimate.steps:,} steps"
    if settings.target_bpb is not None:
        return f"at most {steps}"
    in_time = settings.time_budget is not None and found.estimate.steps < settings.steps
    return f"about {steps}, which is what --time-budget leaves," if in_time else steps


def _dial(found: _Plan) -> list[tuple[str, str]]:
    """What `--depth` decided, and which of its choices were taken from it."""
    decided = [name for name in _DIALED if name not in found.by_hand]
    taken = [name for name in _DIALED if name in found.by_hand]
    lines = [(f"--depth {found.settings.depth}", f"decides {', '.join(_named(found.settings, decided))}")]
    return lines + ([("by hand", ", ".join(_named(found.settings, taken)))] if taken else [])


def _named(settings: TrainSettings, names: list[str]) -> list[str]:
    """Label and value of the settings that this model has."""
    values = {name: getattr(settings, name) for name in names}
    known = fields(TrainSettings)
    return [f"{known[name].label} {_short(value)}" for name, value in values.items() if value]


def _memory(found: _Plan) -> list[tuple[str, str]]:
    """What training holds, whether it fits, and what would."""
    memory, free, batch_size = found.estimate.memory, found.place.free_bytes, found.settings.batch_size
    rows = found.rows
    parts = (
        f"weights {format_bytes(memory.weights)}, gradients {format_bytes(memory.gradients)}, "
        f"optimizer {format_bytes(memory.optimizer)}, "
        f"activations about {format_bytes(memory.activations_per_row)} a row"
    )
    usage = f"{format_bytes(memory.with_rows(rows))} at {rows:,} of {batch_size:,} rows at once"
    if free is None:
        return [("memory", f"{parts}; in all {usage}")]
    lines = [("memory", f"{parts}; {format_bytes(free)} free")]
    if rows and rows <= (found.fitting or 0):
        return [*lines, ("fits", usage)]
    if not found.fitting:
        return [*lines, ("DOES NOT FIT", "not even one row; lower --context-length, --depth or --width")]
    if found.settings.mode == "scalar":
        return [*lines, ("DOES NOT FIT", f"--batch-size {found.fitting} would")]
    return [*lines, ("DOES NOT FIT", f"--micro-batch {found.fitting} would; 0 finds what fits")]


def _time(found: _Plan) -> str:
    told, where = found.estimate, found.place.name
    if told.seconds is None:
        return f"not known on {where}: {told.assumption}"
    speed = f" ({told.tokens / told.seconds:,.0f} tokens/s)" if told.seconds else ""
    most = "at most " if found.settings.target_bpb is not None else ""
    return (
        f"{most}about {format_duration(told.seconds)}{speed} on {where}, at {told.assumption}; "
        "reading text, compiling and evaluating come on top"
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _flops(value: float) -> str:
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 1000:
            return f"{value:.3g} {prefix}FLOP"
        value /= 1000
    return f"{value:.3g} EFLOP"
