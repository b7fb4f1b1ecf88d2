"""Collect the settings that were given for a new run, and report those without effect."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import SettingsError
from engines.runs.store import Run
from engines.settings.applicability import describe_ineffective_settings
from engines.settings.fields import fields
from engines.settings.presets import Preset, get_preset, origin_of_preset
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options


class GivenSettings(NamedTuple):
    """The settings given for a new run, and the entries for its manifest that name where they come from."""

    settings: dict[str, Any]
    origin: dict[str, Any]
    preset: Preset | None = None


def collect_settings(options: Options) -> GivenSettings:
    """Return the settings of user config, preset, --config file and command line; later ones override earlier.

    Raises SettingsError, which names the settings of the preset if others contradict them.
    """
    file_settings, file_preset = _read_config(options.arguments["config"])
    given = apply_preset(choose_preset(options, file_preset), {**file_settings, **options.settings})
    if options.user_config is None:
        return given
    settings = {**options.user_config.train, **given.settings}
    return given._replace(settings=settings, origin={**options.user_config.origin_of(settings), **given.origin})


def choose_preset(options: Options, file_preset: Preset | None) -> Preset | None:
    """Return the preset of the command line, else that of the --config file."""
    name = options.arguments["preset"]
    return file_preset if name is None else get_preset(name)


def apply_preset(preset: Preset | None, given: dict[str, Any]) -> GivenSettings:
    """Add the settings of the preset to those given, which override them.

    Raises SettingsError, which also names the settings of the preset, if together they cannot be used.
    """
    if preset is None:
        return GivenSettings(given, {})
    settings = {**preset.settings, **given}
    try:
        resolve(settings)
    except SettingsError as error:
        raise SettingsError([*error.problems, _describe_settings(preset)]) from None
    return GivenSettings(settings, origin_of_preset(preset, settings), preset)


def _describe_settings(preset: Preset) -> str:
    known = fields(TrainSettings)
    flags = [f"{known[name].flag} {value}" for name, value in preset.settings.items()]
    return f"--preset {preset.name} sets {', '.join(flags)}."


def _read_config(path: str | None) -> tuple[dict[str, Any], Preset | None]:
    if path is None:
        return {}, None
    from engines.settings.files import read_config_file  # imports a TOML parser, which takes 10 ms

    return read_config_file(Path(path))


def print_warnings(given: Mapping[str, Any], run: Run) -> None:
    """Print a sentence for each given setting that has no effect on the run."""
    for warning in describe_ineffective_settings(given, resolve(run.config["given"])):
        print(f"warning: {warning}", file=sys.stderr)
