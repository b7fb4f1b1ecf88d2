"""Export as tables, one file per table: CSV for spreadsheets and data frames, JSON lines for programs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from engines import events
from engines.interop import series
from engines.output import csv_text
from engines.output.json_text import to_json, without_nonfinite
from engines.runs.metrics import compute_metrics
from engines.runs.record import RunRecord

ReportStep = Callable[[int], None]  # is called with the number of each step that was written
_Rows = Iterable[Sequence[Any]]


def write_csv(record: RunRecord, folder: Path, report_step: ReportStep) -> None:
    """Write CSV files. A number that is not finite is `nan` or `inf`, and a missing value is an empty cell."""
    _write_tables(record, folder, "csv", csv_text.write_csv, report_step)


def write_jsonl(record: RunRecord, folder: Path, report_step: ReportStep) -> None:
    """Write JSON lines. A number that is not finite is null and listed in `nonfinite`, as in the log of the run."""

    def write(file: TextIO, names: Sequence[str], rows: _Rows) -> None:
        for row in rows:
            file.write(events.encode(dict(zip(names, row, strict=True))).decode())

    _write_tables(record, folder, "jsonl", write, report_step)


def _write_tables(
    record: RunRecord,
    folder: Path,
    suffix: str,
    write: Callable[[TextIO, Sequence[str], _Rows], None],
    report_step: ReportStep,
) -> None:
    history = record.history
    tables: dict[str, tuple[Sequence[str], _Rows]] = {
        "steps": (series.StepValues._fields, _report_steps(series.iterate_steps(record), report_step))
    }
    for name, kind, found in (
        ("evals", "eval", history.evals),
        ("samples", "sample", history.samples),
        ("guards", "guard", history.guards),
    ):
        fields = ("t", *events.KINDS[kind])
        tables[name] = (fields, series.iterate_rows(found, fields))
    for name, (names, rows) in tables.items():
        with open(folder / f"{name}.{suffix}", "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write(file, names, rows)
    (folder / "run.json").write_text(to_json(describe_run(record), indent=1) + "\n")


def describe_run(record: RunRecord) -> dict[str, Any]:
    """Return id, state, settings and metrics of a run."""
    return {
        "run": record.run.id,
        "state": record.state,
        "settings": without_nonfinite(record.settings),
        "figures": without_nonfinite(compute_metrics(record)),
    }


def _report_steps(steps: Iterable[series.StepValues], report_step: ReportStep) -> Iterator[series.StepValues]:
    for step in steps:
        yield step
        report_step(step.step)
