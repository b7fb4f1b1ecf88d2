"""Which files `--data` means: light, so that a missing one is told before anything is started."""

import glob
from pathlib import Path

from engines.config import BUILT_IN_CORPORA
from engines.errors import LabError

COMPRESSIONS = (".gz", ".xz", ".zst")
FORMATS = (".txt", ".jsonl", ".parquet")


def locate(data: str) -> list[Path]:
    """The files of a path, folder or glob, in a fixed order; LabError if there are none."""
    try:
        path = Path(data).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long for any file; a ~user whom nobody knows
        reason = error.strerror if isinstance(error, OSError) else error
        raise LabError(f"--data {data[:60]!r} names no file ({reason}).") from None
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and _format_suffix(file) in FORMATS)
        if not files:
            raise LabError(f"--data {data} is a folder without .txt, .jsonl or .parquet files.")
        return files
    if path.exists():
        return [path]
    files = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
    if not files:
        built_in = ", ".join(BUILT_IN_CORPORA)
        raise LabError(f"--data {data} does not exist; give a file, a folder, a glob or one of {built_in}.")
    return files


def format_of(path: Path) -> str:
    """One of FORMATS, whatever the compression; any other name is taken for plain text."""
    suffix = _format_suffix(path)
    return suffix if suffix in FORMATS else ".txt"


def _format_suffix(path: Path) -> str:
    """The last suffix that does not name a compression."""
    return next((suffix for suffix in reversed(path.suffixes) if suffix not in COMPRESSIONS), "")
