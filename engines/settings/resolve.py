"""Resolve settings: replace every `auto` by a value and check the result."""

from collections.abc import Mapping
from typing import Any

from engines.errors import SettingsError
from engines.settings import defaults, scaling_rules
from engines.settings.fields import AUTO, fields, parse_settings
from engines.settings.train import UNBOUNDED_STEPS, TrainSettings
from engines.settings.validation import find_contradictions, find_misfits, find_oversizes, find_schedule_misfits

_DECIDED_BY_WORKER = ("device", "dtype", "compile")
_WITHOUT_EFFECT = {"int": 0, "float": 0.0, "bool": False, "str": "", "size": 0, "duration": 0.0}  # by kind of setting


def resolve(given: Mapping[str, object]) -> TrainSettings:
    """Return the complete settings of a run, with `auto` left only where the worker decides.

    Raises SettingsError with every problem found.
    """
    values = {name: field.default for name, field in fields(TrainSettings).items()}
    values |= parse_settings(TrainSettings, given)
    kind = values["model_kind"]
    _fill(values, {name: defaults.BY_MODEL_KIND[kind][name] for name in ("mode", "tokenizer", "optimizer")})
    _raise_if_any(find_contradictions(values))
    _fill_model(values, kind)
    _raise_if_any(find_misfits(values))
    _fill_budget(values, kind)
    _fill(values, dict.fromkeys(_muon_settings(), values["optimizer"] == "muon"))
    # The number of steps in a time budget is unknown here: 0 stands for the interval of training/run_schedule.py.
    follows_progress = values["eval_every"] == AUTO and values["time_budget"] is not None
    every = 0 if follows_progress else min(250, max(1, values["steps"] // 10))
    _fill(values, defaults.COMMON | {"eval_every": every})
    _fill(values, {"sample_every": values["eval_every"], "checkpoint_every": values["eval_every"]})
    _raise_if_any(find_schedule_misfits(values, follows_progress) + find_oversizes(values))
    _fill(values, {name: _WITHOUT_EFFECT[field.kind] for name, field in fields(TrainSettings).items()})
    return TrainSettings(**values)


def _fill_model(values: dict[str, Any], kind: str) -> None:
    """Decide the shape, the vocabulary and the other settings that the model kind determines."""
    _fill(values, defaults.BY_MODEL_KIND[kind])
    if kind == "gpt":
        _fill(values, scaling_rules.derive_shape(values))
    else:
        _fill(values, {"lr": defaults.LEARNING_RATES[kind][values["optimizer"]]})
        _fill(values, {"eval_tokens": defaults.MINI_GPT_EVAL_TOKENS[values["mode"]]})
    _fill(values, {"vocab_size": defaults.SMALL_BPE_VOCAB if values["tokenizer"] == "bpe" else 0})


def _fill_budget(values: dict[str, Any], kind: str) -> None:
    """Decide batch size, steps, learning rates and warmup."""
    budget = scaling_rules.derive_budget(values) if kind == "gpt" else {"steps": 500}
    _fill(values, {name: value for name, value in budget.items() if name != "steps"})
    _fill(values, {"steps": _auto_steps(values, kind, budget["steps"])})
    if kind == "gpt":
        _fill(
            values,
            {"warmup_fraction": scaling_rules.derive_warmup_fraction(values["steps"], values["warmdown_fraction"])},
        )


def _fill(values: dict[str, Any], decided: Mapping[str, Any]) -> None:
    """Replace `auto` by the decided values."""
    for name, value in decided.items():
        if values[name] == AUTO and name not in _DECIDED_BY_WORKER:
            values[name] = value


def _raise_if_any(problems: list[str]) -> None:
    if problems:
        raise SettingsError(problems)


def _auto_steps(values: Mapping[str, Any], kind: str, default: int) -> int:
    if values["tokens"] is not None:
        tokens_per_step: int = values["batch_size"] * values["context_length"]
        return -(-int(values["tokens"]) // tokens_per_step)
    if kind != "gpt" and (values["time_budget"] is not None or values["target_bpb"] is not None):
        return UNBOUNDED_STEPS
    return default


def _muon_settings() -> list[str]:
    return [name for name, field in fields(TrainSettings).items() if field.group == "muon"]
