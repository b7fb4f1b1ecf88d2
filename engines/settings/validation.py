"""Checks of several settings together: contradictions, sizes that do not fit each other, and excessive sizes."""

from collections.abc import Mapping
from typing import Any

from engines.settings.fields import AUTO, fields, format_bad_value
from engines.settings.requirements import first_unmet
from engines.settings.scaling_rules import CHAR_VOCAB
from engines.settings.train import TrainSettings

_MAX_PARAMETERS = 10**12  # 4 TB of float32 weights, more than eight of the largest GPUs hold
_MAX_TOKENS_PER_STEP = 1 << 32
_MAX_TOKENS = 10**18


def find_contradictions(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting that the model kind, mode, optimizer or tokenizer excludes."""
    kind, mode, optimizer = values["model_kind"], values["mode"], values["optimizer"]
    problems = []
    for name, field in fields(TrainSettings).items():
        if values[name] not in (AUTO, False):
            unmet = first_unmet(tuple(one for one in field.applies_when if one.unmet_is_error), values)
            problems += [unmet.format_error(field.flag, values)] if unmet else []
    if mode == "scalar" and kind == "gpt":
        problems.append("--mode scalar cannot be used with --model-kind gpt; it needs --mode tensor.")
    elif mode == "scalar" and optimizer == "muon":
        problems.append("--optimizer muon cannot be used with --mode scalar; it needs --mode tensor.")
    return problems


def find_misfits(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each pair of model sizes that do not fit each other."""
    problems = []
    width, heads, kv_heads = (values[name] if values[name] != AUTO else 0 for name in ("width", "heads", "kv_heads"))
    if heads and width % heads:
        problems.append(f"--width {width} must be a multiple of --heads {heads}.")
    elif values["rotary"] is True and width // heads % 2:
        problems.append(f"--rotary needs an even head size: --width {width} / --heads {heads} must be even.")
    if kv_heads and heads % kv_heads:
        problems.append(f"--kv-heads {kv_heads} must divide --heads {heads}.")
    pattern = values["window_pattern"]
    if pattern != AUTO and (not pattern or set(pattern) - {"L", "S"}):
        problems.append(f"--window-pattern must consist of L and S, such as SSSL, not {format_bad_value(pattern)}.")
    return problems


def find_schedule_misfits(values: Mapping[str, Any], follows_progress: bool) -> list[str]:
    """Return a sentence for each schedule, interval or micro-batch that does not fit the others.

    `follows_progress`: the evaluation interval is a fraction of the time budget.
    """
    problems = []
    if values["warmup_fraction"] + values["warmdown_fraction"] > 1:
        problems.append("--warmup-fraction and --warmdown-fraction together must be at most 1.")
    if values["target_bpb"] is not None and not values["eval_every"] and not follows_progress:
        problems.append("--target-bpb needs evaluations: --eval-every must be greater than 0.")
    if values["micro_batch"] and values["batch_size"] % values["micro_batch"]:
        problems.append(f"--micro-batch {values['micro_batch']} must divide --batch-size {values['batch_size']}.")
    return problems


def find_oversizes(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each size that no machine can hold. Shape and budget must be decided."""
    problems = []
    parameters = _parameters(values)
    if parameters > _MAX_PARAMETERS:
        flags = "--vocab-size" if values["model_kind"] == "bigram" else "--layers, --width, --vocab-size"
        problems.append(
            f"the model has about {parameters:.3g} parameters, more than the limit of {_MAX_PARAMETERS:.0e}; "
            f"lower {flags} or --context-length."
        )
    tokens = values["batch_size"] * values["context_length"]
    if tokens > _MAX_TOKENS_PER_STEP:
        problems.append(
            f"--batch-size {values['batch_size']} times --context-length {values['context_length']} is {tokens:,} "
            f"tokens per step, more than {_MAX_TOKENS_PER_STEP:,}; lower one of them."
        )
    elif tokens * values["steps"] > _MAX_TOKENS:
        problems.append(
            f"--steps {values['steps']} of {tokens:,} tokens is more than {_MAX_TOKENS:.0e} tokens; lower --steps."
        )
    return problems


def _parameters(values: Mapping[str, Any]) -> int:
    """Return the approximate number of parameters, without building the shapes of each layer."""
    vocab_size = values["vocab_size"] or CHAR_VOCAB
    if values["model_kind"] == "bigram":
        return int(2 * vocab_size**2)
    layers, width = values["layers"], values["width"]
    tables = vocab_size * (2 + (layers // 2 if values["value_embeddings"] is True else 0)) + values["context_length"]
    return int(12 * layers * width**2 + tables * width)
