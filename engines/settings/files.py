"""Read settings from a file: TOML, or the config.json of a run."""

import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import SettingsError, UserError
from engines.files import read_file, user_path
from engines.settings.fields import parse_settings
from engines.settings.presets import Preset, get_preset
from engines.settings.train import TrainSettings

_MAX_BYTES = 1 << 22  # a longer file is not a config file


class ConfigFile(NamedTuple):
    """The parsed settings of a file, and the preset that it names, whose settings they override."""

    settings: dict[str, Any]
    preset: Preset | None = None


def read_config_text(path: Path) -> str:
    """Read a --config file. Raises SettingsError if it cannot be read or is not UTF-8 text."""
    try:
        return read_file(user_path(path, "config file"), "config file", _MAX_BYTES).decode()
    except UnicodeDecodeError:
        raise SettingsError([f"--config {path} cannot be read: it is not UTF-8 text."]) from None
    except UserError as error:
        raise SettingsError([f"--config: {error}"]) from None


def read_config_file(path: Path) -> ConfigFile:
    """Return the parsed settings of a TOML file and its preset, or the settings given to a run by its config.json.

    Raises SettingsError with the file and all problems.
    """
    text = read_config_text(path)
    try:
        if path.suffix == ".json":
            raw = dict(json.loads(text)["given"].items())
        else:
            raw = {name.replace("-", "_"): value for name, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"--config {path} is not TOML: {error}."]) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SettingsError([f"--config {path} is neither TOML nor the config.json of a run."]) from None
    preset = pop_preset(raw, path)
    return ConfigFile(parse_settings(TrainSettings, raw, str(path)), preset)


def pop_preset(raw: dict[str, Any], path: Path) -> Preset | None:
    """Remove the key `preset` from the content of a file, and return the preset that it names.

    Raises SettingsError for a name that is not a preset's.
    """
    return get_preset(raw.pop("preset"), f"{path}: preset") if "preset" in raw else None
