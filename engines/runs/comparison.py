"""In which settings runs differ, and in what they came from: their manifests laid side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engines.settings.fields import fields
from engines.settings.train import TrainSettings

MISSING = object()  # a setting that this run's manifest has not
_ORIGINS = (("commit", "code", "commit"), ("corpus sha256", "facts", "sha256"), ("host", "hardware", "host"))
_DIGITS_OF_A_HASH = 12


class ComparisonLine(NamedTuple):
    """One thing, as it is in each of the runs."""

    group: str
    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


class ComparedSetting(NamedTuple):
    """One setting or origin with its values, MISSING where a manifest has none."""

    group: str
    name: str
    label: str
    values: tuple[Any, ...]

    @property
    def line(self) -> ComparisonLine:
        return ComparisonLine(self.group, self.label, tuple(map(format_setting, self.values)))


def get_section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object of a manifest; empty where there is none, or something else in its place."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def compare_settings(configs: Sequence[Mapping[str, Any]]) -> list[ComparedSetting]:
    """Every setting of any of them, in the order of the declaration, then what the lab no longer or not yet knows, then
    code, corpus and host."""
    resolved = [get_section(config, "resolved") for config in configs]
    declared = fields(TrainSettings)
    found = {name for values in resolved for name in values}
    names = [name for name in declared if name in found] + sorted(found - declared.keys())
    lines = [
        ComparedSetting(
            declared[name].group if name in declared else "other",
            name,
            declared[name].label if name in declared else name,
            tuple(values.get(name, MISSING) for values in resolved),
        )
        for name in names
    ]
    return lines + [
        ComparedSetting("code", name, label, tuple(_get_origin(config, group, name) for config in configs))
        for label, group, name in _ORIGINS
    ]


def _get_origin(config: Mapping[str, Any], group: str, name: str) -> Any:
    found = get_section(config, group).get(name)
    return str(found)[:_DIGITS_OF_A_HASH] if found else MISSING


def format_setting(value: object) -> str:
    """A value as a person would type it."""
    if value is MISSING:
        return "–"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
