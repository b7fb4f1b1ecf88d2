"""Comparison of the settings and origins of several runs, from their manifests."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engines.settings.fields import fields
from engines.settings.train import TrainSettings

MISSING = object()  # value of a setting that a manifest does not have
_ORIGINS = (("commit", "code", "commit"), ("corpus sha256", "facts", "sha256"), ("host", "hardware", "host"))
_HASH_DIGITS = 12


class ComparisonLine(NamedTuple):
    """One setting or origin with its text for each run."""

    group: str
    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """True if the runs differ in it."""
        return len(set(self.values)) > 1


class ComparedSetting(NamedTuple):
    """One setting or origin with its value for each run, MISSING where a manifest has none."""

    group: str
    name: str
    label: str
    values: tuple[Any, ...]

    @property
    def line(self) -> ComparisonLine:
        """The values as text."""
        return ComparisonLine(self.group, self.label, tuple(map(format_setting, self.values)))


def get_section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object of a manifest; an empty one if it is missing or not an object."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def compare_settings(configs: Sequence[Mapping[str, Any]]) -> list[ComparedSetting]:
    """Return every setting of any of the runs in the order of declaration, then unknown ones, then code, text and host.

    Unknown settings were written by an earlier or a later version.
    """
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
    return str(found)[:_HASH_DIGITS] if found else MISSING


def format_setting(value: object) -> str:
    """Return a value as the user would type it; `–` if it is missing."""
    if value is MISSING:
        return "–"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
