"""Reads the column `text` of .parquet files, a row group at a time."""

from collections.abc import Iterator
from pathlib import Path

from engines.errors import LabError

_ROWS = 1024  # at a time


def texts(path: Path) -> Iterator[str]:
    """The texts of a file. LabError names it where it has none, or pyarrow is missing."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise LabError(f"{path} needs the package pyarrow; install it: pip install 'nanochat-tui[parquet]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            field = file.schema_arrow.field("text") if "text" in file.schema_arrow.names else None
            if field is None or not (pyarrow.types.is_string(field.type) or pyarrow.types.is_large_string(field.type)):
                raise LabError(f'{path} has no column "text" of strings.')
            for batch in file.iter_batches(_ROWS, columns=["text"]):
                yield from (text for text in batch.column(0).to_pylist() if text)
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise LabError(f"{path} cannot be read as parquet ({reason}).") from None
