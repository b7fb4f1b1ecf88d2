"""Collect the settings that were given for a new run, and report those without effect."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.runs.store import Run
from engines.settings.applicability import describe_ineffective_settings
from engines.settings.resolve import resolve
from nanochat_tui.commands import Options


def given_settings(options: Options) -> dict[str, Any]:
    """Return the settings of the user config, the --config file and the command line; later ones override earlier."""
    configured = options.user_config.train if options.user_config else {}
    return {**configured, **_read_config(options.arguments["config"]), **options.settings}


def origin_of(given: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Return the entry for the manifest that names which settings come from the user config."""
    return options.user_config.origin_of(given) if options.user_config else {}


def _read_config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    from engines.settings.files import read_config_file  # imports a TOML parser, which takes 10 ms

    return read_config_file(Path(path))


def print_warnings(given: Mapping[str, Any], run: Run) -> None:
    """Print a sentence for each given setting that has no effect on the run."""
    for warning in describe_ineffective_settings(given, resolve(run.config["given"])):
        print(f"warning: {warning}", file=sys.stderr)
