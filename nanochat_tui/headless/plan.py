"""plan: show parameters, FLOPs, memory and time of a training run before it starts."""

import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from engines import registry
from engines.cost.machine import Machine, resolve_for_machine, this_machine
from engines.cost.memory import USABLE_MEMORY, choose_micro_batch, largest_micro_batch
from engines.cost.plan import Estimate, estimate
from engines.cost.vocab_size import find_missing_texts, preview_vocab_size
from engines.data.file_selection import describe_selections, select_train_and_val
from engines.errors import SettingsError, UserError
from engines.output.units import format_bytes, format_duration
from engines.settings.applicability import describe_ineffective_settings
from engines.settings.fields import AUTO, fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.system.gpus import list_gpus
from nanochat_tui.commands import Options
from nanochat_tui.headless.given import given_settings
from nanochat_tui.streams import print_json

_DERIVED_FROM_DEPTH = (
    "layers width heads kv_heads vocab_size batch_size steps warmup_fraction lr embedding_lr head_lr scalar_lr "
    "weight_decay"
).split()
_LABEL_WIDTH = 14
_MIN_WIDTH, _DEFAULT_WIDTH = 60, 120  # of the output; the default is for pipes


class _Target(NamedTuple):
    """The device that the plan is for."""

    machine: Machine
    name: str
    free_bytes: int | None  # None: not known


class _RunPlan(NamedTuple):
    """The settings of a run on the target, and everything that is estimated from them."""

    settings: TrainSettings
    overridden: set[str]  # settings that do not follow from --depth
    target: _Target
    vocab_size: int
    vocab_assumption: str  # why the vocabulary size is assumed; empty if it is known
    estimate: Estimate
    micro_batch: int  # rows per forward pass; 0 if not even one fits
    max_micro_batch: int | None  # the most rows that fit; None if the free memory is not known
    warnings: list[str]  # about given settings without effect
    files: list[str]  # sentences about the files that a folder or a pattern names


def plan(options: Options) -> int:
    """Print what a run would need, without importing torch. Only the first megabytes of the text are read."""
    made = _make_plan(given_settings(options), options.arguments["device_name"])
    if options.json:
        print_json(_as_json(made))
    else:
        _print_table(_rows_of(made))
    return 0


def _make_plan(given: Mapping[str, Any], device_name: str | None) -> _RunPlan:
    """Resolve the settings for the target and estimate the run. Raises UserError if a text is missing."""
    requested = resolve(given)
    registry.check_available(requested.mode, requested.model_kind)
    if missing := find_missing_texts(requested):
        raise UserError(" ".join(missing.values()))
    target = _choose_target(requested, device_name)
    settings = resolve_for_machine(requested, target.machine)
    vocab_size, assumption = preview_vocab_size(settings)
    estimated = estimate(settings, vocab_size, target.machine)
    micro_batch, max_micro_batch = _micro_batches(settings, vocab_size, estimated, target)
    overridden = {name for name, value in given.items() if value != AUTO}
    if settings.tokens is not None:
        overridden.add("steps")  # they follow from --tokens
    files = describe_selections(*select_train_and_val(requested.data, requested.val_data))
    warnings = describe_ineffective_settings(given, requested)
    return _RunPlan(
        settings, overridden, target, vocab_size, assumption, estimated, micro_batch, max_micro_batch, warnings, files
    )


def _choose_target(settings: TrainSettings, device_name: str | None) -> _Target:
    """Return the named GPU, else the first GPU of this machine, else its CPU or Metal GPU."""
    if device_name is not None:
        if settings.mode == "scalar" or settings.device not in (AUTO, "cuda"):
            raise SettingsError(["--device-name names a GPU: it needs --mode tensor and --device auto or cuda."])
        return _Target(this_machine(device_name), device_name, None)
    if settings.mode == "tensor" and settings.device in (AUTO, "cuda"):
        for gpu in list_gpus():
            return _Target(this_machine(gpu.name), gpu.name, gpu.free_bytes)
    if settings.device == "cuda":
        raise UserError(
            "--device cuda: this machine has no NVIDIA GPU. To plan for another machine's GPU, add --device-name."
        )
    import psutil  # takes 20 ms, and is only needed here

    machine = this_machine()
    name = "a Metal GPU" if settings.device == "mps" else f"a CPU with {machine.cores} cores"
    return _Target(machine, name, psutil.virtual_memory().available)


def _micro_batches(
    settings: TrainSettings, vocab_size: int, estimated: Estimate, target: _Target
) -> tuple[int, int | None]:
    """Return the rows per forward pass, and the most rows that fit into the free memory (None if not known)."""
    gpu = target.machine.gpu
    if target.free_bytes is None:
        return settings.micro_batch or choose_micro_batch(settings, vocab_size, sys.maxsize, gpu), None
    available = int(USABLE_MEMORY * (target.free_bytes - estimated.memory.fixed))
    largest = largest_micro_batch(settings, vocab_size, available, gpu)
    if settings.mode == "scalar":
        return settings.batch_size, largest
    return settings.micro_batch or choose_micro_batch(settings, vocab_size, available, gpu), largest


def _as_json(made: _RunPlan) -> dict[str, Any]:
    estimated, micro_batch = made.estimate, made.micro_batch
    return {
        "device": made.target.name,
        "free_bytes": made.target.free_bytes,
        "vocab_size": made.vocab_size,
        "vocab_size_is_assumed": bool(made.vocab_assumption),
        "parameters": estimated.parameter_count,
        "parameters_by_role": estimated.parameters,
        "flops_per_token": estimated.flops_per_token,
        "tokens_per_step": estimated.tokens_per_step,
        "steps": estimated.steps,
        "tokens": estimated.tokens,
        "flops": estimated.flops,
        "memory": {
            **dataclasses.asdict(estimated.memory),
            "micro_batch": micro_batch,
            "largest_micro_batch": made.max_micro_batch,
            "total": estimated.memory.with_rows(micro_batch) if micro_batch else None,
        },
        "seconds": estimated.seconds,
        "assumption": estimated.assumption,
        "warnings": made.warnings,
        "files": made.files,
        "settings": dataclasses.asdict(made.settings),
    }


# --- the table ------------------------------------------------------------------------------------


def _print_table(rows: list[tuple[str, str]]) -> None:
    """Print labels and texts, wrapped to the width of the terminal."""
    width = max(_MIN_WIDTH, shutil.get_terminal_size((_DEFAULT_WIDTH, 0)).columns)
    for label, text in rows:
        for line in textwrap.wrap(text, width - _LABEL_WIDTH, break_on_hyphens=False):
            print(f"{label:<{_LABEL_WIDTH}}{line}")
            label = ""


def _rows_of(made: _RunPlan) -> list[tuple[str, str]]:
    """Return the label and the text of each row."""
    estimated, settings = made.estimate, made.settings
    is_gpt = settings.model_kind == "gpt"  # its learning rates are among the settings that follow from --depth
    rate = [] if is_gpt else _format_settings(settings, ["lr"])
    return [
        ("model", _describe_model(made)),
        ("parameters", f"{estimated.parameter_count:,}: {_format_counts(estimated.parameters)}"),
        ("compute", f"{_format_flops(estimated.flops_per_token)} per token, forward and backward; "
                    f"{_format_flops(estimated.flops)} in total"),
        ("budget", f"{_describe_steps(made)} of {estimated.tokens_per_step:,} tokens ({settings.batch_size:,} rows of "
                   f"{settings.context_length:,}): {estimated.tokens:,} tokens"),
        ("optimizer", ", ".join([settings.optimizer, *rate])),
        *(_depth_rows(made) if is_gpt else []),
        *_memory_rows(made),
        ("time", _describe_time(made)),
        *(("files", sentence) for sentence in made.files),
        *(("warning", warning) for warning in made.warnings),
    ]  # fmt: skip


def _describe_model(made: _RunPlan) -> str:
    settings = made.settings
    parts = [f"{settings.mode} {settings.model_kind}"]
    if settings.layers:
        head_dim = settings.width // settings.heads
        parts += [f"layers {settings.layers}", f"width {settings.width}", f"heads {settings.heads} of {head_dim}"]
    assumption = f" ({made.vocab_assumption})" if made.vocab_assumption else ""
    parts.append(f"vocabulary {made.vocab_size:,}{assumption}")
    return ", ".join(parts)


def _describe_steps(made: _RunPlan) -> str:
    settings, steps = made.settings, f"{made.estimate.steps:,} steps"
    if settings.target_bpb is not None:
        return f"at most {steps}"
    is_limited_by_time = settings.time_budget is not None and made.estimate.steps < settings.steps
    return f"about {steps}, as many as fit into --time-budget," if is_limited_by_time else steps


def _depth_rows(made: _RunPlan) -> list[tuple[str, str]]:
    """Return which settings follow from `--depth`, and which of these are overridden."""
    derived = [name for name in _DERIVED_FROM_DEPTH if name not in made.overridden]
    overridden = [name for name in _DERIVED_FROM_DEPTH if name in made.overridden]
    rows = [(f"--depth {made.settings.depth}", f"sets {', '.join(_format_settings(made.settings, derived))}")]
    return rows + ([("overridden", ", ".join(_format_settings(made.settings, overridden)))] if overridden else [])


def _format_settings(settings: TrainSettings, names: list[str]) -> list[str]:
    """Return label and value of each of the settings that this model has."""
    values = {name: getattr(settings, name) for name in names}
    known = fields(TrainSettings)
    return [f"{known[name].label} {_format_value(value)}" for name, value in values.items() if value]


def _memory_rows(made: _RunPlan) -> list[tuple[str, str]]:
    """Return what training keeps in memory, whether it fits, and if not, what to change."""
    memory, free, batch_size = made.estimate.memory, made.target.free_bytes, made.settings.batch_size
    micro_batch, largest = made.micro_batch, made.max_micro_batch
    parts = (
        f"weights {format_bytes(memory.weights)}, gradients {format_bytes(memory.gradients)}, optimizer "
        f"{format_bytes(memory.optimizer)}, activations about {format_bytes(memory.activations_per_row)} per row"
    )
    total = f"{format_bytes(memory.with_rows(micro_batch))} with {micro_batch:,} of {batch_size:,} rows at once"
    if free is None:
        return [("memory", f"{parts}; total {total}")]
    rows = [("memory", f"{parts}; {format_bytes(free)} free")]
    if micro_batch and micro_batch <= (largest or 0):
        return [*rows, ("fits", total)]
    if not largest:
        return [*rows, ("does not fit", "not even one row fits; use a smaller --context-length, --depth or --width")]
    if made.settings.mode == "scalar":
        return [*rows, ("does not fit", f"use --batch-size {largest}")]
    return [*rows, ("does not fit", f"use --micro-batch {largest}; with 0 the run determines it itself")]


def _describe_time(made: _RunPlan) -> str:
    estimated, device = made.estimate, made.target.name
    if estimated.seconds is None:
        return f"unknown on {device}: {estimated.assumption}"
    speed = f" ({estimated.tokens / estimated.seconds:,.0f} tokens/s)" if estimated.seconds else ""
    limit = "at most " if made.settings.target_bpb is not None else ""
    return (
        f"{limit}about {format_duration(estimated.seconds)}{speed} on {device}, assuming {estimated.assumption}; "
        "excluding data preparation, compilation and evaluation"
    )


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _format_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _format_flops(value: float) -> str:
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 1000:
            return f"{value:.3g} {prefix}FLOP"
        value /= 1000
    return f"{value:.3g} EFLOP"
