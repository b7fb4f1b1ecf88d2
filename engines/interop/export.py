"""Export of a run to a folder, which is created complete or not at all."""

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from engines.errors import UserError
from engines.files import format_os_error
from engines.interop import tables, tensorboard_files, wandb_files
from engines.interop.tables import ReportStep
from engines.runs.record import RunRecord

_EXTRAS = {"tensorboard": "tensorboard", "wandb-offline": "wandb"}  # extras, which have the names of their packages
WRITERS: dict[str, Callable[[RunRecord, Path, ReportStep], None]] = {
    "csv": tables.write_csv,
    "jsonl": tables.write_jsonl,
    "tensorboard": tensorboard_files.write,
    "wandb-offline": wandb_files.write,
}


def export(record: RunRecord, format: str, folder: Path, report_step: ReportStep) -> list[Path]:
    """Write a run in one of the formats of WRITERS; return the files. `report_step` is called with each written step.

    Raises UserError if the folder is not empty or cannot be written, or if the package of the format is not installed.
    """
    _require_extra(format)
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"export {folder} cannot be written: not a directory. Choose another with --out.")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"export {folder} cannot be written: the folder is not empty. Choose another with --out.")
        with _temporary_folder(folder) as partial:
            WRITERS[format](record, partial, report_step)
    except (OSError, ValueError) as error:
        raise UserError(
            f"export {folder} cannot be written: {format_os_error(error)}. Choose another with --out."
        ) from None
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _require_extra(format: str) -> None:
    """Raise UserError if the package of a format is not installed.

    A folder with the name of the package, such as those that wandb creates, is found too but has no origin.
    """
    if extra := _EXTRAS.get(format):
        spec = importlib.util.find_spec(extra)
        if spec is None or spec.origin is None:
            raise UserError(
                f"--format {format}: {extra} is not installed. Install it: pip install 'nanochat-tui[{extra}]'"
            )


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder in the same directory, which is renamed at the end."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
