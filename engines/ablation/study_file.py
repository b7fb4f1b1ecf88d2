"""What a study is asked for, read: axes from words, everything from TOML, an older plan or the manifest of a run."""

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engines.ablation.settings import StudySettings
from engines.errors import SettingsError
from engines.settings.fields import fields, parse_all, shown
from engines.settings.files import read_config_text
from engines.settings.train import TrainSettings


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a file asks for, parsed, but not yet looked at together."""

    given: dict[str, Any]
    axes: dict[str, tuple[Any, ...]]
    options: dict[str, Any]


def parse_axes(words: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """Axes from words such as `lr=1e-4,3e-4`; SettingsError names all that are wrong."""
    raw: dict[str, list[object]] = {}
    problems = []
    for word in words:
        name, equals, values = word.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals or not values:
            problems.append(f"--axis {shown(word)} must name a setting and its values, such as lr=1e-4,3e-4.")
        elif name in raw:
            problems.append(f"--axis {shown(name)} is given twice; list all its values in one --axis.")
        else:
            raw[name] = [value.strip() for value in values.split(",")]
    return _checked_axes(raw, problems, "--axis ")


def read_study_file(path: Path) -> Asked:
    """A TOML file of settings as `train` takes it, with tables `axes` and `study`; or the JSON of a plan or a run."""
    text = read_config_text(path)
    try:
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        given, axes, options = _parts(raw, path.suffix == ".json")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SettingsError(
            [f"--config {path} is no TOML of a study, no plan.json and no config.json of a run."]
        ) from None
    problems: list[str] = []
    found: dict[type, dict[str, Any]] = {TrainSettings: {}, StudySettings: {}}
    for settings, values in ((TrainSettings, given), (StudySettings, options)):
        try:
            found[settings] = parse_all(settings, values, str(path))
        except SettingsError as error:
            problems += error.problems
    return Asked(found[TrainSettings], _checked_axes(axes, problems, f"{path}: axis "), found[StudySettings])


def _parts(raw: Mapping[str, Any], is_json: bool) -> tuple[dict[str, Any], dict[str, list[object]], dict[str, Any]]:
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


def _checked_axes(raw: Mapping[str, Iterable[object]], problems: list[str], where: str) -> dict[str, tuple[Any, ...]]:
    """Every value parsed as its setting is; raises if there are problems, those from before included."""
    known = fields(TrainSettings)
    axes: dict[str, tuple[Any, ...]] = {}
    for name, values in raw.items():
        if name not in known:
            problems.append(f"{where}{shown(name)} is not a setting of a run.")
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
