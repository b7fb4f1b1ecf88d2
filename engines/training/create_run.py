"""Creates a run: settings resolved and checked, manifest written."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines import registry
from engines.data.file_selection import select_train_and_val
from engines.files import user_path
from engines.runs import manifest
from engines.runs.creation import Fill, create_run_directory
from engines.runs.manifest import SCHEDULE
from engines.runs.store import Run
from engines.settings.requirements import flag_of
from engines.settings.resolve import resolve
from engines.settings.train import BUILT_IN_CORPORA, TrainSettings


def create_run(
    given: Mapping[str, Any], results: Path, origin: Mapping[str, Any] | None = None, fill: Fill | None = None
) -> Run:
    """Create a run with these settings, without starting it. Raises UserError on failure, and leaves nothing behind.

    `origin` is added to the manifest: the run or study that this one comes from. `fill` adds further files.
    """
    return create_resolved_run(resolve(given), given, results, origin, fill)


def create_resolved_run(
    settings: TrainSettings,
    given: Mapping[str, Any],
    results: Path,
    origin: Mapping[str, Any] | None = None,
    fill: Fill | None = None,
) -> Run:
    """Create a run as `create_run` does, with settings that are already resolved."""
    registry.check_available(settings.mode, settings.model_kind)
    select_train_and_val(settings.data, settings.val_data)
    config = {
        "given": dict(given),
        "resolved": _with_absolute_paths(settings),
        "seed": settings.seed,
        "code": manifest.describe_code(),
        "schedule": SCHEDULE,
        **(origin or {}),
    }
    return create_run_directory(results, settings.checkpoint_dir, config, fill)


def _with_absolute_paths(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings with absolute paths, as a run may be resumed from another directory."""
    resolved = dataclasses.asdict(settings)
    for name in ("data", "val_data"):
        if resolved[name] and resolved[name] not in BUILT_IN_CORPORA:
            resolved[name] = str(user_path(resolved[name], flag_of(name)))
    return resolved
