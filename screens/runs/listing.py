"""The rows of the table and their column widths, built in a thread."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engines.runs.watch import WatchedRun
from screens.runs import columns
from screens.runs.row import Row, RowReader


@dataclasses.dataclass(frozen=True)
class Listing:
    """Some or all runs, in their order."""

    rows: Sequence[Row]
    longest: Mapping[str, int]  # cells of the longest text of each column, among all runs


def read_listing(reader: RowReader, watches: Iterable[WatchedRun], results: Path, ascii: bool) -> Listing:
    rows = reader.read(watches, results)
    return Listing(rows, columns.longest_of(rows, ascii))
