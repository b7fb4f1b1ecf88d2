"""Requests for a study: axes from words, and everything from TOML, an older plan.json or a run's config.json."""

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engines.ablation.settings import StudySettings
from engines.errors import SettingsError
from engines.settings.fields import fields, format_bad_value, parse_settings, suggest_name
from engines.settings.files import pop_preset, read_config_text
from engines.settings.presets import Preset
from engines.settings.train import TrainSettings


@dataclasses.dataclass(frozen=True)
class StudyRequest:
    """Parsed contents of a study file; `make_plan` checks whether they fit together."""

    given: dict[str, Any]
    axes: dict[str, tuple[Any, ...]]
    options: dict[str, Any]
    preset: Preset | None = None  # its settings are overridden by `given`


def parse_axes(words: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """Parse axes such as `lr=1e-4,3e-4`. Raises SettingsError with all problems at once."""
    raw: dict[str, list[object]] = {}
    problems = []
    for word in words:
        name, equals, values = word.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals or not values:
            problems.append(
                f"--axis {format_bad_value(word)} has no values. Write a setting and its values: lr=1e-4,3e-4."
            )
        elif name in raw:
            problems.append(f"--axis {format_bad_value(name)} is given twice. List all of its values in one --axis.")
        else:
            raw[name] = [value.strip() for value in values.split(",")]
    return _parse_axis_values(raw, problems, "--axis ")


def read_study_file(path: Path) -> StudyRequest:
    """Read a TOML file of `train` settings with the tables `axes` and `study`, or the JSON of a plan or a run.

    Raises SettingsError with all problems at once.
    """
    text = read_config_text(path)
    try:
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        given, axes, options = _split_file(raw, path.suffix == ".json")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SettingsError(
            [f"--config {path} is not a study: expected TOML with settings, a plan.json or a run's config.json."]
        ) from None
    problems: list[str] = []
    preset = None
    try:
        preset = pop_preset(given, path)
    except SettingsError as error:
        problems += error.problems
    parsed: dict[type, dict[str, Any]] = {TrainSettings: {}, StudySettings: {}}
    for settings, values in ((TrainSettings, given), (StudySettings, options)):
        try:
            parsed[settings] = parse_settings(settings, values, str(path))
        except SettingsError as error:
            problems += error.problems
    axis_values = _parse_axis_values(axes, problems, f"{path}: axis ")
    return StudyRequest(parsed[TrainSettings], axis_values, parsed[StudySettings], preset)


def _split_file(
    raw: Mapping[str, Any], is_json: bool
) -> tuple[dict[str, Any], dict[str, list[object]], dict[str, Any]]:
    """Split a file into settings, axes and study options. TOML may write names with `-`, and one value without a
    list."""
    if is_json:
        axes = {axis["name"]: axis["values"] for axis in raw.get("axes", [])}
        return dict(raw["given"]), axes, dict(raw.get("options", {}))
    top = {name.replace("-", "_"): value for name, value in raw.items()}
    options = {name.replace("-", "_"): value for name, value in top.pop("study", {}).items()}
    axes = {
        name.replace("-", "_"): values if isinstance(values, list) else [values]
        for name, values in top.pop("axes", {}).items()
    }
    return top, axes, options


def _parse_axis_values(
    raw: Mapping[str, Iterable[object]], problems: list[str], where: str
) -> dict[str, tuple[Any, ...]]:
    """Parse every value as its setting does. Raises SettingsError if there are problems, including the given ones."""
    known = fields(TrainSettings)
    axes: dict[str, tuple[Any, ...]] = {}
    for name, values in raw.items():
        if name not in known:
            problems.append(f"{where}{format_bad_value(name)}: unknown setting{suggest_name(name, known)}")
            continue
        parsed = []
        for value in values:
            try:
                parsed.append(known[name].parse(value))
            except ValueError as error:
                problems.append(f"{where}{name} {error}.")
        axes[name] = tuple(parsed)
    if problems:
        raise SettingsError(problems)
    return axes
