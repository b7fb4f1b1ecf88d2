"""Reads settings from a file: TOML, or what an old run was asked for."""

import json
import tomllib
from pathlib import Path
from typing import Any

from engines.config import TrainSettings
from engines.errors import SettingsError
from engines.fields import parse_all


def read_config_file(path: Path) -> dict[str, Any]:
    """What a TOML file, or the config.json of a run, asks for, parsed; SettingsError names the file and its faults."""
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".json":
            raw = dict(json.loads(text)["given"].items())
        else:
            raw = {name.replace("-", "_"): value for name, value in tomllib.loads(text).items()}
    except OSError as error:
        raise SettingsError([f"--config {path} cannot be read ({error.strerror})."]) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SettingsError([f"--config {path} is neither TOML nor the config.json of a run."]) from None
    return parse_all(TrainSettings, raw, str(path))
