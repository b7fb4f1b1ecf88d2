"""A run as tables, a file for each: CSV for spreadsheets and data frames, JSON lines for programs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from engines import events
from engines.interop import series
from engines.output import csv_text
from engines.output.json_text import to_json, without_nonfinite
from engines.runs.metrics import metrics
from engines.runs.record import Record

Tell = Callable[[int], None]  # how many steps are written
_Rows = Iterable[Sequence[Any]]


def write_csv(record: Record, folder: Path, tell: Tell) -> None:
    """A number that is not finite is `nan` or `inf`; what there is not is an empty cell."""
    _write_tables(record, folder, "csv", csv_text.write_csv, tell)


def write_jsonl(record: Record, folder: Path, tell: Tell) -> None:
    """As in the run's own log: a number that is not finite is null, and `nonfinite` names it."""

    def write(file: TextIO, names: Sequence[str], rows: _Rows) -> None:
        for row in rows:
            file.write(events.encode(dict(zip(names, row, strict=True))).decode())

    _write_tables(record, folder, "jsonl", write, tell)


def _write_tables(
    record: Record, folder: Path, suffix: str, write: Callable[[TextIO, Sequence[str], _Rows], None], tell: Tell
) -> None:
    history = record.history
    tables: dict[str, tuple[Sequence[str], _Rows]] = {"steps": (series.Step._fields, _told(series.steps(record), tell))}
    for name, kind, found in (
        ("evals", "eval", history.evals),
        ("samples", "sample", history.samples),
        ("guards", "guard", history.guards),
    ):
        fields = ("t", *events.KINDS[kind])
        tables[name] = (fields, series.rows(found, fields))
    for name, (names, rows) in tables.items():
        with open(folder / f"{name}.{suffix}", "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write(file, names, rows)
    (folder / "run.json").write_text(to_json(about(record), indent=1) + "\n")


def about(record: Record) -> dict[str, Any]:
    """What holds for the whole run."""
    return {
        "run": record.run.id,
        "state": record.state,
        "settings": without_nonfinite(record.settings),
        "figures": without_nonfinite(metrics(record)),
    }


def _told(steps: Iterable[series.Step], tell: Tell) -> Iterator[series.Step]:
    for step in steps:
        yield step
        tell(step.step)
