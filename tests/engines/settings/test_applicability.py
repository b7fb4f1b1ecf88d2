"""Applicability: a setting changes the run, or its requirement gives the reason; shown by training."""

import dataclasses
import gc
import json
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from builders import events_of, weights_sha256

from engines.ablation.plan import make_plan
from engines.checkpoints.folders import list_steps
from engines.errors import SettingsError
from engines.settings.applicability import (
    describe_ineffective_settings,
    find_applicable_settings,
    find_unmet_requirements,
    without_ineffective_values,
)
from engines.settings.fields import fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.training.create_run import create_run
from engines.training.worker import Worker

LINES = [f"the {animal} sees the {other}" for animal in ("cat", "dog", "fox") for other in ("owl", "hen", "bat", "ant")]
QUICK = {
    "data": "LINES", "documents": "line", "steps": 4, "batch_size": 3, "context_length": 8, "eval_every": 2,
    "checkpoint_every": 1, "keep_last": 2, "sample_tokens": 40, "lr_schedule": "sqrt",
}  # fmt: skip
EXACT = {"mode": "tensor", "device": "cpu", "dtype": "float64", "threads": 1}
GPT = {
    **QUICK,
    **EXACT,
    "sample_tokens": 2,
    "model_kind": "gpt",
    "tokenizer": "char",
    "layers": 3,
    "width": 16,
    "heads": 2,
}

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "bigram with adamw": {**QUICK, "weight_decay": 0.1},
    "bigram with sgd and a constant rate": {**QUICK, "optimizer": "sgd", "lr_schedule": "constant", "data": "LINES"},
    "bigram with muon": {**QUICK, **EXACT, "optimizer": "muon"},
    "mini-gpt with adamw": {**QUICK, "model_kind": "mini-gpt", "heads": 2, "width": 8},
    "mini-gpt with muon": {**QUICK, **EXACT, "model_kind": "mini-gpt", "optimizer": "muon", "heads": 2, "width": 8},
    "gpt with muon": {**GPT, "window": 3, "weight_decay": 0.1},
    "gpt with adamw": {**GPT, "optimizer": "adamw", "tie_lm_head": True, "window_pattern": "L"},
    "gpt with sgd": {**GPT, "optimizer": "sgd", "window": 3, "weight_decay": 0.1},
    "gpt of one layer": {
        **GPT, "layers": 1, "width": 4, "rotary": False, "qk_norm": False, "lr_schedule": "constant",
        "residual_scalars": False, "embedding_scalars": False, "weight_decay": 0.0, "momentum_schedule": False,
    },
    "gpt whose window is its context": {**GPT, "window": 8, "lr_schedule": "constant"},
    "stories with byte pairs": {
        **QUICK, "model_kind": "mini-gpt", "width": 4, "data": "stories", "corpus_size": 2_000,
        "tokenizer": "bpe", "vocab_size": 270, "eval_tokens": 50,
    },
    "records": {**QUICK, "data": "RECORDS"},
    "no samples, no decay, all checkpoints": {
        **QUICK, "sample_tokens": 0, "warmdown_fraction": 0.0, "keep_last": 0, "guard_spike": "off",
        "guard_memory": "off", "guard_throughput": "off", "eval_every": 0, "data": "names", "eval_tokens": 50,
    },
}  # fmt: skip

OTHER: dict[str, Any] = {
    "tie_lm_head": True, "input_rmsnorm": True, "final_rmsnorm": False, "layers": 2, "width": 8, "heads": 1,
    "context_length": 4, "kv_heads": 1, "rotary": False, "rotary_base": 100.0, "qk_norm": False, "qk_scale": 0.5,
    "activation": "gelu", "softcap": 1.0, "window_pattern": "SLL", "window": 2, "document_mask": True,
    "value_embeddings": False, "residual_scalars": False, "embedding_scalars": False, "smear": False, "backout": False,
    "data": "names", "val_data": "OTHER", "documents": "file", "text_key": "other", "style": "futuristic",
    "corpus_size": 3_000, "corpus_seed": 5, "tokenizer": "byte", "vocab_size": 280, "seed": 2, "steps": 3, "tokens": 24,
    "time_budget": 1e-9, "target_bpb": 1e6, "optimizer": "sgd", "batch_size": 2, "lr": 0.3, "embedding_lr": 0.2,
    "head_lr": 0.2, "scalar_lr": 0.2, "lr_schedule": "cosine", "warmup_fraction": 0.4, "warmdown_fraction": 0.3,
    "final_lr_fraction": 0.5, "beta1": 0.5, "beta2": 0.5, "adam_eps": 0.1, "weight_decay": 0.5,
    "polar_express": False, "row_equilibration": False, "renormalization": False, "variance_reduction": False,
    "cautious_decay": False, "momentum_schedule": False, "dtype": "float32", "eval_every": 3, "eval_tokens": 20,
    "sample_every": 3, "sample_tokens": 5, "temperature": 5.0, "prompt": "t", "checkpoint_every": 3, "keep_last": 1,
    "mode": "tensor", "model_kind": "mini-gpt", "scaling_rules": "nanochat",
}  # fmt: skip
# Effects that a few steps on this machine cannot show, or that other tests show.
ELSEWHERE: dict[str, Any] = {
    "depth": 3, "device": "cpu", "compile": "off", "threads": 2, "micro_batch": 1, "checkpoint_dir": "elsewhere",
    "keep_best": True, "guard_nonfinite": "warn", "guard_spike": "halt", "guard_spike_sigmas": 5.0,
    "guard_disk": "warn", "guard_memory": "halt", "guard_memory_growth": 2.0, "guard_throughput": "halt",
    "guard_throughput_drop": 0.9,
}  # fmt: skip


_TEXTS = ("LINES", "OTHER", "RECORDS")

# Settings that apply for different reasons.
_ADAMW = [name for name in CONFIGURATIONS if "with adamw" in name or "with muon" in name]
BY_OPTIMIZER = {
    **dict.fromkeys(("beta2", "adam_eps", "weight_decay"), _ADAMW),
    "warmdown_fraction": ["bigram with adamw", "gpt whose window is its context"],
    "scalar_lr": ["gpt with muon", "gpt with adamw"],
}


ROTARY_OFF = {"model_kind": "gpt", "rotary": False}


@pytest.fixture(autouse=True)
def worker_leaves_no_trace() -> Iterator[None]:
    """A worker changes its process permanently."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    gc.unfreeze()
    gc.enable()


def given_to(configuration: str, folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / "lines.txt").write_text("\n".join(LINES))
    (folder / "other.txt").write_text("\n".join(f"{line} too" for line in LINES[::-2]))
    records = [json.dumps({"text": line, "other": line[::-1]}) for line in LINES]
    (folder / "records.jsonl").write_text("\n".join(records))
    texts = {name: str(folder / f"{name.lower()}{'.jsonl' if name == 'RECORDS' else '.txt'}") for name in _TEXTS}
    given = {**CONFIGURATIONS[configuration], **changes}
    return {name: texts.get(value, value) if isinstance(value, str) else value for name, value in given.items()}


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, ...]]:
    """Return the observations of the unchanged configurations, each made once."""
    folder = tmp_path_factory.mktemp("unchanged")
    return cache(lambda configuration: observe(given_to(configuration, folder), folder))


def observe(given: dict[str, Any], folder: Path) -> tuple[Any, ...]:
    """Return everything that a run with these settings writes, without times and names."""
    run = create_run(given, folder / "results")
    Worker(run, time.time_ns()).work()
    events = events_of(run, "step", "eval", "sample", "checkpoint", "ended")
    assert events[-1]["reason"] == "finished", events[-1]["detail"]
    kept = list_steps(run.checkpoints_dir)
    changing = ("t", "seconds", "path", "bytes")  # a checkpoint contains the settings
    timeless = [{name: value for name, value in event.items() if name not in changing} for event in events]
    return repr(timeless), kept, weights_sha256(run, kept[-1])


def changeable(name: str, configuration: str, folder: Path) -> bool:
    """Return whether the setting has an effect, and another value is valid with the other settings."""
    given = given_to(configuration, folder)
    try:
        other = resolve({**given, name: OTHER[name]})
    except SettingsError:
        return False
    return name not in find_unmet_requirements(resolve(given)) and getattr(other, name) != getattr(resolve(given), name)


def test_every_setting_is_covered_here_or_elsewhere() -> None:
    assert OTHER.keys() | ELSEWHERE.keys() == fields(TrainSettings).keys() and not OTHER.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("name", OTHER)
def test_a_setting_that_applies_changes_the_run(name: str, unchanged: Any, tmp_path: Path) -> None:
    applies_in = [one for one in CONFIGURATIONS if changeable(name, one, tmp_path)]
    assert applies_in, "no configuration lets it have an effect"
    several = [one for one in applies_in if one in BY_OPTIMIZER.get(name, ())]
    for configuration in several or applies_in[:1]:
        after = observe(given_to(configuration, tmp_path, **{name: OTHER[name]}), tmp_path)
        assert after != unchanged(configuration), configuration


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_settings_that_do_not_apply_change_nothing_and_are_reported(
    configuration: str, unchanged: Any, tmp_path: Path
) -> None:
    given = given_to(configuration, tmp_path)
    base = resolve(given)
    unmet = find_unmet_requirements(base)
    changes: dict[str, Any] = {}
    for name in unmet:
        other = (OTHER | ELSEWHERE)[name] or True
        if unmet[name].unmet_is_error:
            with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')} cannot be used with"):
                resolve({**given, name: other})
        elif find_unmet_requirements(resolve({**given, **changes, name: other})).keys() >= unmet.keys():
            changes[name] = other
    assert unmet.keys() - changes.keys() - {name for name in unmet if unmet[name].unmet_is_error} <= {
        "window_pattern",
        "window",
    }
    changed = resolve({**given, **changes})
    assert without_ineffective_values(changed) == without_ineffective_values(base)
    assert len(describe_ineffective_settings(changes, changed)) == len(changes)
    if changes:
        assert observe({**given, **changes}, tmp_path) == unchanged(configuration)


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"optimizer": "sgd", "beta1": 0.8}, "--beta1 0.8 has no effect: it needs --optimizer adamw, or muon with"),
        ({"model_kind": "gpt", "adam_eps": 1e-6}, "--adam-eps 1e-06 has no effect: it needs --optimizer adamw, or"),
        ({"optimizer": "sgd", "weight_decay": 0.1}, "--weight-decay 0.1 has no effect: it needs --optimizer adamw"),
        ({**ROTARY_OFF, "rotary_base": 9}, "--rotary-base 9.0 has no effect: it needs --rotary"),
        ({"model_kind": "gpt", "qk_norm": False, "qk_scale": 2}, "--qk-scale 2.0 has no effect: it needs --qk-norm."),
        ({"model_kind": "gpt", "window_pattern": "L", "window": 9}, "it needs an S in --window-pattern"),
        ({"model_kind": "gpt", "window": 4096}, "--window 4096 has no effect: it needs --window below"),
        ({"lr_schedule": "constant", "warmdown_fraction": 0.2}, "it needs --lr-schedule linear, sqrt or cosine."),
        ({"corpus_size": 5_000}, "--corpus-size 5000 has no effect: it needs --data or --val-data stories."),
        ({"sample_tokens": 0, "prompt": "a"}, "--prompt a has no effect: it needs --sample-tokens above 0."),
        ({"guard_spike": "off", "guard_spike_sigmas": 3}, "it needs --guard-spike warn, halt or rollback."),
        ({"documents": "line"}, "--documents line has no effect: it needs a .txt file"),
        ({"model_kind": "gpt", "depth": 5, "layers": 2, "width": 64}, "--depth 5 has no effect: --layers and --width"),
    ],
)  # fmt: skip
def test_a_given_setting_without_effect_is_reported_with_the_reason(given: dict[str, Any], warning: str) -> None:
    (found,) = describe_ineffective_settings(given, resolve(given))
    assert warning in found


def test_given_settings_with_an_effect_give_no_warning() -> None:
    for given in ({}, {"model_kind": "gpt", "window": 64, "depth": 6}, {"data": "stories", "corpus_size": 5_000}):
        assert describe_ineffective_settings(given, resolve(given)) == []


@pytest.mark.parametrize("pick", ["grid", "one-at-a-time", "random"])
def test_an_axis_without_effect_in_any_cell_is_refused(pick: str) -> None:
    axes = {"beta1": (0.8, 0.9), "lr": (0.1, 0.2)}
    with pytest.raises(SettingsError, match="--axis beta1 has no effect in any cell: it needs --optimizer adamw"):
        make_plan({"optimizer": "sgd"}, axes, {"pick": pick})
    with pytest.raises(SettingsError, match="--axis prompt: it does not affect training"):
        make_plan({}, {"prompt": ("a", "b")}, {"pick": pick})


def test_a_study_has_no_duplicate_runs_if_an_axis_has_no_effect() -> None:
    plan = make_plan({}, {"optimizer": ("adamw", "sgd"), "beta1": (0.8, 0.9)}, {})
    assert [cell.name for cell in plan.cells] == [
        "optimizer=adamw_beta1=0.8", "optimizer=adamw_beta1=0.9", "optimizer=sgd_beta1=0.8",
    ]  # fmt: skip
    (dropped,) = plan.dropped
    assert "it is the same as optimizer=sgd_beta1=0.8; --beta1 0.9 has no effect" in dropped.reason


def test_applicable_settings_are_found_while_others_are_invalid() -> None:
    assert "qk_scale" in find_applicable_settings({"model_kind": "gpt"}) and "qk_scale" not in find_applicable_settings(
        {}
    )
    assert "qk_scale" in find_applicable_settings({"model_kind": "gpt", "heads": 3, "lr": "x"})
    assert find_applicable_settings({"model_kind": "x"}) == find_applicable_settings({})


def test_only_settings_without_effect_are_neutralised() -> None:
    settings = resolve({"optimizer": "sgd", "beta1": 0.1})
    changed = {
        field.name
        for field in dataclasses.fields(settings)
        if getattr(without_ineffective_values(settings), field.name) is None
    }
    assert changed >= set(find_unmet_requirements(settings)) and "lr" not in changed
