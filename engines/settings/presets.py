"""Presets: named sets of settings to start with, for `--preset NAME`, `preset = "NAME"` in a file, and the form."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from engines.errors import SettingsError
from engines.settings.fields import find_unchanged, format_bad_value
from engines.settings.train import TrainSettings


class Preset(NamedTuple):
    """A set of settings with a name, and a sentence that says what it is for."""

    name: str
    description: str
    settings: Mapping[str, Any]


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "names",
            "A bigram learns to write names, one pair of letters at a time; it takes about two seconds.",
            {"mode": "scalar", "model_kind": "bigram", "data": "names", "steps": 500},
        ),
        Preset(
            "inspect",
            "A GPT in pure Python of which every number can be inspected learns names in about twenty seconds.",
            {"mode": "scalar", "model_kind": "mini-gpt", "data": "names", "steps": 500},
        ),
        Preset(
            "laptop",
            "A GPT learns to write short stories on two CPU cores in less than three minutes.",
            # Found by trials: rows that hold several whole stories, and many small steps at high rates. Masking other
            # stories or full attention in all layers takes a third more time per step, and is not better in the same
            # time. A slower machine trains fewer steps, and ends as soon.
            {
                "mode": "tensor",
                "model_kind": "gpt",
                "data": "stories",
                "corpus_size": 12_000_000,
                "tokenizer": "bpe",
                "vocab_size": 1024,
                "layers": 4,
                "width": 128,
                "heads": 4,
                "context_length": 512,
                "batch_size": 4,
                "steps": 2400,
                "time_budget": 150.0,
                "lr": 0.008,
                "embedding_lr": 0.2,
                "head_lr": 0.006,
                "eval_tokens": 32_768,
            },
        ),
        Preset(
            "gpt",
            "A GPT with nanochat's architecture and a recipe tuned here, sized by --depth, for a GPU.",
            {"model_kind": "gpt", "scaling_rules": "tuned"},
        ),
        Preset(
            "nanochat",
            "A GPT with nanochat's own recipe and sizes for --depth, for a GPU.",
            {"model_kind": "gpt", "scaling_rules": "nanochat"},
        ),
    )
}


def get_preset(name: object, source: str = "--preset") -> Preset:
    """Return a preset. Raises SettingsError, which lists all presets, if there is none of this name."""
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        raise SettingsError([f"{source} must be one of {', '.join(PRESETS)}, not {format_bad_value(name)}."])
    return preset


def origin_of_preset(preset: Preset | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry for a manifest that names which of the given settings come from the preset."""
    if preset is None:
        return {}
    return {"preset": {"name": preset.name, "settings": find_unchanged(TrainSettings, preset.settings, given)}}
