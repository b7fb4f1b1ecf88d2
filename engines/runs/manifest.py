"""The parts of a manifest that describe code, machine and settings, so that a run can be repeated."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines import __version__
from engines.errors import UserError
from engines.system import cpu

SCHEDULE = 2  # of new runs. 1: token and time budgets only ended a run
_ROOT = Path(__file__).resolve().parent.parent.parent


def describe_code() -> dict[str, Any]:
    """Return the versions of the program and of Python, and the commit if the code runs from a git checkout."""
    return {
        "nanochat_tui": __version__,
        "commit": _read_commit(_ROOT / ".git"),
        "python": sys.version.split()[0],
        "implementation": sys.implementation.name,
    }


def describe_hardware() -> dict[str, Any]:
    """Return the host name, operating system, processor and number of cores."""
    system = os.uname()
    return {
        "host": system.nodename,
        "system": f"{system.sysname} {system.release}",
        "processor": cpu.name(),
        "cores": cpu.total_cores(),
        "usable_cores": cpu.usable_cores(),
    }


def read_resolved_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's manifest. Settings that were added later have their current defaults.

    Raises UserError if a newer version wrote settings that this one does not know.
    """
    from engines.settings.fields import fields
    from engines.settings.resolve import resolve
    from engines.settings.train import TrainSettings

    resolved: dict[str, Any] = config["resolved"]
    known = fields(TrainSettings)
    if unknown := sorted(resolved.keys() - known.keys()):
        version = config.get("code", {}).get("nanochat_tui")
        raise UserError(
            f"run {config['run']} cannot be read: this version does not know its settings {', '.join(unknown)}. "
            f"Use nanochat-tui {version}."
        )
    if known.keys() <= resolved.keys():
        return dict(resolved)
    return dataclasses.asdict(resolve({**config["given"], "data": resolved["data"]})) | resolved


def _read_commit(git: Path) -> str | None:
    """Return the commit of HEAD, read from the files: starting git would take longer than the run's first steps."""
    try:
        if git.is_file():  # a worktree names its own folder, and that one the common folder
            git = git.parent / git.read_text().strip().removeprefix("gitdir: ")
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        common = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
        if (common / reference).exists():
            return (common / reference).read_text().strip()
        packed = (common / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {reference}")), None)
    except OSError:
        return None
