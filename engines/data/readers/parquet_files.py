"""Read a column of strings from .parquet files, in batches of rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.data.readers.text_files import open_regular
from engines.errors import UserError

_BATCH_ROWS = 1024
_MAX_LISTED_COLUMNS = 8  # in an error


def read_parquet(path: Path, column: str = "text") -> Iterator[str]:
    """Yield the texts of a column. Raises UserError if there are none, or if pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{path} needs the package pyarrow, which is not installed: pip install 'nanochat-tui[parquet]'"
        ) from None
    errors = (OSError, ValueError, LookupError, TypeError, OverflowError, MemoryError, pyarrow.ArrowException)
    with open_regular(path):  # pyarrow would block on a FIFO
        pass
    try:
        with parquet.ParquetFile(path) as file:
            _check_column(path, file.schema_arrow, column)
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column]):
                yield from (text for text in batch.column(0).to_pylist() if text)
    except errors as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"{path} cannot be read as parquet: {reason}. Write the file again.") from None


def _check_column(path: Path, schema: Any, column: str) -> None:
    """Raise UserError unless exactly one column has that name and it holds strings."""
    import pyarrow

    kinds = [field.type for field in schema if field.name == column]
    if len(kinds) > 1:
        raise UserError(f'{path} has {len(kinds)} columns "{column}". Write a file with one of them.')
    kind = kinds[0] if kinds else pyarrow.null()
    kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        names = [field.name for field in schema]
        more = ", …" if len(names) > _MAX_LISTED_COLUMNS else ""
        listed = ", ".join(names[:_MAX_LISTED_COLUMNS]) + more or "none"
        raise UserError(f'{path} has no column "{column}" of strings; columns: {listed}. Choose one with --text-key.')
