"""User config file: preferences for the dashboard, and settings with which its form of a new run begins.

The file is config.toml in the user's config directory. Headless commands read it only with --user-config, so that a
script does the same for every user. All keys are optional:

    results = "~/runs"             # results directory
    theme = "nanochat-light"       # or a theme of Textual
    charset = "ascii"              # auto, unicode or ascii

    [keys]                         # id of a binding = key or keys; `?` lists the keys
    leave = "ctrl+q"

    [train]                        # settings of new runs, as in a --config file
    optimizer = "adamw"
"""

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engines.errors import SettingsError, UserError
from engines.files import read_file
from engines.settings.fields import Field, find_unchanged, format_bad_value, parse_settings
from engines.settings.train import TrainSettings

_MAX_BYTES = 1 << 20
_CHARSETS = ("auto", "unicode", "ascii")


@dataclasses.dataclass(frozen=True)
class UserConfig:
    """Content of the file at `path`. None and empty mappings stand for what it does not set.

    `keys` maps ids of bindings to keys. `train` has parsed settings, which are not resolved.
    """

    path: Path
    results: str | None = None
    theme: str | None = None
    charset: str = "auto"
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def origin_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry for a manifest that names which of the given settings come from this file.

        The values of `given` are parsed ones, or texts of the form.
        """
        names = find_unchanged(TrainSettings, self.train, given)
        return {"user_config": {"path": str(self.path), "settings": names}} if names else {}


def user_config_path() -> Path:
    """Return where the user config file is, if there is one."""
    import platformdirs  # takes 10 ms, and --help does without

    return platformdirs.user_config_path("nanochat-tui") / "config.toml"


def read_user_config(path: Path | None = None) -> UserConfig:
    """Read the user config file; without one, all values have their defaults.

    Raises SettingsError, which names the file and every wrong key and value in it.
    """
    path = path or user_config_path()
    if not path.exists():
        return UserConfig(path)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in _read_toml(path).items():
        if name not in _PARSERS:
            problems.append(f"{path}: unknown key {format_bad_value(name)}; accepted keys: {', '.join(_PARSERS)}.")
            continue
        try:
            values[name] = _PARSERS[name](value)
        except ValueError as error:
            problems.append(f"{path}: {name} {error}.")
        except SettingsError as error:
            problems += [f"{path}: {problem}" for problem in error.problems]
    if problems:
        raise SettingsError(problems)
    return UserConfig(path, **values)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path, "user config file", _MAX_BYTES).decode())
    except UserError as error:
        raise SettingsError([str(error)]) from None
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8
        raise SettingsError([f"{path} is not TOML: {error}."]) from None


def _parse_keys(value: Any) -> dict[str, str]:
    """Return the key map. Raises SettingsError for values that are not keys."""
    accepted = "a key such as f2 or ctrl+s, or several joined by commas"
    problems = [
        f"keys: {format_bad_value(name)} must be {accepted}, not {format_bad_value(key)}."
        for name, key in _require_table(value).items()
        if not isinstance(key, str) or not key.strip()
    ]
    if problems:
        raise SettingsError(problems)
    return dict(value)


def _parse_train(value: Any) -> dict[str, Any]:
    """Return the parsed settings. Raises SettingsError for unknown settings and wrong values."""
    raw = {name.replace("-", "_"): setting for name, setting in _require_table(value).items()}
    return parse_settings(TrainSettings, raw, "train")


def _require_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table, not {format_bad_value(value)}")
    return value


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "results": Field("results", "user config", "str", None, "").parse,
    "theme": Field("theme", "user config", "str", None, "").parse,
    "charset": Field("charset", "user config", "str", None, "", choices=_CHARSETS).parse,
    "keys": _parse_keys,
    "train": _parse_train,
}
