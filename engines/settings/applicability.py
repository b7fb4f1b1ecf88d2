"""Find settings that have no effect on a run, and warn if they were given."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from engines.errors import SettingsError
from engines.settings.fields import AUTO, fields
from engines.settings.requirements import Requirement, first_unmet
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

_STRUCTURAL = ("model_kind", "mode", "optimizer", "tokenizer")  # settings that exclude others


def find_unmet_requirements(settings: TrainSettings) -> dict[str, Requirement]:
    """Return the first unmet requirement of each setting that has no effect with the other values."""
    values = vars(settings)
    found = ((name, first_unmet(field.applies_when, values)) for name, field in fields(TrainSettings).items())
    return {name: unmet for name, unmet in found if unmet}


def describe_ineffective_settings(given: Mapping[str, Any], settings: TrainSettings) -> list[str]:
    """Return a sentence for each given value that has no effect on a run with these resolved settings."""
    unmet, known = find_unmet_requirements(settings), fields(TrainSettings)
    chosen = [name for name, value in given.items() if value not in (AUTO, None, False, "")]
    found = [unmet[name].format_warning(known[name].flag, getattr(settings, name)) for name in chosen if name in unmet]
    if {"depth", "layers", "width"} <= set(chosen):
        found.append(f"--depth {settings.depth} has no effect: --layers and --width are given.")
    return found


def without_ineffective_values(settings: TrainSettings) -> TrainSettings:
    """Return the settings with None for values without effect: runs that differ only in those are the same."""
    neutral: dict[str, Any] = dict.fromkeys(find_unmet_requirements(settings))
    return dataclasses.replace(settings, **neutral)


def find_applicable_settings(given: Mapping[str, Any]) -> set[str]:
    """Return the names of settings that have an effect with the typed values, some of which may be invalid."""
    structural = {name: value for name, value in given.items() if name in _STRUCTURAL}
    for attempt in (given, structural, {}):
        try:
            return fields(TrainSettings).keys() - find_unmet_requirements(resolve(attempt)).keys()
        except SettingsError:
            continue
    return set(fields(TrainSettings))
