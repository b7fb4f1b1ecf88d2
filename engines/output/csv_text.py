"""CSV that every parser reads alike, written alike by every version of Python."""

import csv
from collections.abc import Iterable, Sequence
from typing import Any, TextIO


class _UnixLines:
    """Stream that ends each row with a line feed. The writer itself must end rows with CR LF: some versions of Python
    quote a lone carriage return only if the line end contains one."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def write_csv(file: TextIO, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header row and rows. `file` must be opened with newline=""."""
    writer = csv.writer(_UnixLines(file), lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows(rows)
