"""Read settings from a file: TOML, or the config.json of a run."""

import json
import tomllib
from pathlib import Path
from typing import Any

from engines.errors import SettingsError, UserError
from engines.files import read_file, user_path
from engines.settings.fields import parse_settings
from engines.settings.train import TrainSettings

_MAX_BYTES = 1 << 22  # a longer file is not a config file


def read_config_text(path: Path) -> str:
    """Read a --config file. Raises SettingsError if it cannot be read or is not UTF-8 text."""
    try:
        return read_file(user_path(path, "config file"), "config file", _MAX_BYTES).decode()
    except UnicodeDecodeError:
        raise SettingsError([f"--config {path} cannot be read: it is not UTF-8 text."]) from None
    except UserError as error:
        raise SettingsError([f"--config: {error}"]) from None


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the parsed settings of a TOML file, or those given to a run by its config.json.

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
    return parse_settings(TrainSettings, raw, str(path))
