"""The rows of the table and the widths of their texts, built in a thread."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engines.runs.watch import WatchedRun
from screens.runs.columns import measure_texts
from screens.runs.rows import RowReader, RunRow


@dataclasses.dataclass(frozen=True)
class RunListing:
    """All runs that have been read, and the width of the longest text of each column."""

    rows: Sequence[RunRow] = ()
    longest: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read_listing(reader: RowReader, watches: Iterable[WatchedRun], results: Path, ascii: bool) -> RunListing:
    rows = reader.read(watches, results)
    return RunListing(rows, measure_texts(rows, ascii))
