"""A run in a folder of its own, for another tool. The folder is there whole or not at all."""

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from engines.errors import UserError
from engines.files import format_os_error
from engines.interop import tables, tensorboard_files, wandb_files
from engines.interop.tables import Tell
from engines.runs.record import Record

_EXTRAS = {"tensorboard": "tensorboard", "wandb-offline": "wandb"}  # each named like its package
WRITERS: dict[str, Callable[[Record, Path, Tell], None]] = {
    "csv": tables.write_csv,
    "jsonl": tables.write_jsonl,
    "tensorboard": tensorboard_files.write,
    "wandb-offline": wandb_files.write,
}


def export(record: Record, format: str, folder: Path, tell: Tell) -> list[Path]:
    """The files written. UserError if there is something in the folder already: it may be somebody's work."""
    _require_extra(format)
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"export {folder} cannot be written: not a directory. Choose another with --out.")
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"export {folder} cannot be written: it is not empty. Choose another with --out.")
        with _whole(folder) as partial:
            WRITERS[format](record, partial, tell)
    except (OSError, ValueError) as error:
        raise UserError(
            f"export {folder} cannot be written: {format_os_error(error)}. Choose another with --out."
        ) from None
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _require_extra(format: str) -> None:
    """UserError if its package is not here. A folder of that name, as wandb leaves them anywhere, is no package."""
    if extra := _EXTRAS.get(format):
        found = importlib.util.find_spec(extra)
        if found is None or found.origin is None:
            raise UserError(f"--format {format} needs {extra}: pip install 'nanochat-tui[{extra}]'")


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside it to write in, which takes its place in the end."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
