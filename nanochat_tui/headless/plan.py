"""plan: show parameters, FLOPs, memory and time of a training run before it starts."""

import dataclasses
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

from engines.output.units import format_bytes, format_duration
from engines.settings.fields import fields
from engines.settings.presets import PRESETS, Preset
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.given import collect_settings
from nanochat_tui.headless.run_plan import RunPlan, make_run_plan
from nanochat_tui.streams import print_json

_DERIVED_FROM_DEPTH = (
    "layers width heads kv_heads vocab_size batch_size steps warmup_fraction lr embedding_lr head_lr scalar_lr "
    "weight_decay"
).split()
_LABEL_WIDTH = 14
_MIN_WIDTH, _DEFAULT_WIDTH = 60, 120  # of the output; the default is for pipes


def plan(options: Options) -> int:
    """Print what a run would need, without importing torch. Only the first megabytes of the text are read."""
    if options.arguments["presets"]:
        return _list_presets(options)
    given = collect_settings(options)
    made = make_run_plan(given.settings, options.arguments["device_name"])
    if options.json:
        print_json({"preset": given.preset and given.preset.name, **_as_json(made)})
    else:
        _print_table([*_preset_rows(given.preset), *_rows_of(made)])
    return 0


def _list_presets(options: Options) -> int:
    """Print each preset with its description, and with what it needs on the target."""
    for preset in PRESETS.values():
        made = make_run_plan({**preset.settings, **options.settings}, options.arguments["device_name"])
        if options.json:
            print_json({"preset": preset.name, "description": preset.description, **_as_json(made)})
        else:
            _print_table([(preset.name, preset.description), ("", _describe_cost(made))])
    return 0


def _describe_cost(made: RunPlan) -> str:
    """Return model, parameters, memory and time in one line."""
    estimated, settings = made.estimate, made.settings
    size = f"{settings.mode} {settings.model_kind}, {estimated.parameter_count:,} parameters"
    memory = format_bytes(estimated.memory.with_rows(made.micro_batch))
    time = "unknown time" if estimated.seconds is None else f"about {format_duration(estimated.seconds)}"
    return f"{size}; {estimated.tokens:,} tokens; {memory}; {time} on {made.target.name}"


def _as_json(made: RunPlan) -> dict[str, Any]:
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


def _preset_rows(preset: Preset | None) -> list[tuple[str, str]]:
    return [("preset", f"{preset.name}: {preset.description}")] if preset else []


def _rows_of(made: RunPlan) -> list[tuple[str, str]]:
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


def _describe_model(made: RunPlan) -> str:
    settings = made.settings
    parts = [f"{settings.mode} {settings.model_kind}"]
    if settings.layers:
        head_dim = settings.width // settings.heads
        parts += [f"layers {settings.layers}", f"width {settings.width}", f"heads {settings.heads} of {head_dim}"]
    assumption = f" ({made.vocab_assumption})" if made.vocab_assumption else ""
    parts.append(f"vocabulary {made.vocab_size:,}{assumption}")
    return ", ".join(parts)


def _describe_steps(made: RunPlan) -> str:
    settings, steps = made.settings, f"{made.estimate.steps:,} steps"
    if settings.target_bpb is not None:
        return f"at most {steps}"
    is_limited_by_time = settings.time_budget is not None and made.estimate.steps < settings.steps
    return f"about {steps}, as many as fit into --time-budget," if is_limited_by_time else steps


def _depth_rows(made: RunPlan) -> list[tuple[str, str]]:
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


def _memory_rows(made: RunPlan) -> list[tuple[str, str]]:
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


def _describe_time(made: RunPlan) -> str:
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
