"""Presets: valid sets of settings with a description, from which a run starts."""

from pathlib import Path

import pytest
from builders import finished_run

from engines.errors import SettingsError
from engines.runs.history import read_history
from engines.settings.applicability import describe_ineffective_settings
from engines.settings.fields import AUTO, fields, parse_settings
from engines.settings.presets import PRESETS, get_preset, origin_of_preset
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

# Sizes with which a run of any preset takes seconds.
TINY = {
    "depth": 1, "layers": 1, "width": 8, "heads": 2, "vocab_size": 270, "corpus_size": 5_000, "steps": 2,
    "batch_size": 2, "context_length": 8, "eval_tokens": 50, "sample_tokens": 2, "device": "cpu", "compile": "off",
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_valid_set_of_settings_that_all_have_an_effect(name: str) -> None:
    preset = PRESETS[name]
    assert parse_settings(TrainSettings, preset.settings) == preset.settings
    assert describe_ineffective_settings(preset.settings, resolve(preset.settings)) == []
    assert preset.description.count(".") == 1 and preset.description.endswith(".")


@pytest.mark.parametrize("name", PRESETS)
def test_a_run_starts_with_the_settings_of_a_preset(name: str, tmp_path: Path) -> None:
    preset = PRESETS[name]
    known, resolved = fields(TrainSettings), resolve(preset.settings)
    tiny = {
        size: value
        for size, value in TINY.items()
        if all(one.holds(vars(resolved)) for one in known[size].applies_when if one.unmet_is_error)
    }
    run = finished_run(tmp_path, **{**preset.settings, **tiny})
    assert read_history(run).step == 2


def test_an_unknown_preset_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(SettingsError, match="--preset must be one of names, inspect, laptop, gpt, nanochat, not 'big'"):
        get_preset("big")
    with pytest.raises(SettingsError, match="preset must be one of"):
        get_preset(7)


def test_only_unchanged_settings_are_attributed_to_the_preset() -> None:
    preset = PRESETS["names"]
    given = {**preset.settings, "steps": 7, "data": AUTO, "lr": 0.1}
    assert origin_of_preset(preset, given) == {"preset": {"name": "names", "settings": ["mode", "model_kind"]}}
    typed = {name: str(value) for name, value in preset.settings.items()}
    assert origin_of_preset(preset, typed) == {"preset": {"name": "names", "settings": list(preset.settings)}}
    assert origin_of_preset(None, given) == {}


def test_the_preset_nanochat_has_the_sizes_and_rates_of_nanochat_at_any_depth() -> None:
    settings = resolve({**PRESETS["nanochat"].settings, "depth": 12})
    assert (settings.width, settings.heads, settings.vocab_size, settings.window) == (768, 6, 32_768, 512)
    assert (settings.tokens_per_step, settings.steps) == (1 << 19, 2_520)
    rates = (settings.lr, settings.embedding_lr, settings.head_lr, settings.weight_decay)
    assert rates == pytest.approx((0.02, 0.3, 0.008, 0.28))
    shallow = resolve({**PRESETS["nanochat"].settings, "depth": 4, "vocab_size": 8192})
    assert shallow.tokens_per_step == 1 << 17 and shallow.steps == 480
    assert shallow.lr == pytest.approx(0.02 * 0.5), "the rates of narrow models are not raised"
    assert resolve({**PRESETS["nanochat"].settings, "context_length": 640}).window == 256, "a multiple of 128"
