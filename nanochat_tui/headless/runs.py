"""runs: list all runs as a table or as JSON lines."""

import os
import sys
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.files import format_os_error
from engines.output.units import format_age, format_duration
from engines.runs import liveness
from engines.runs.lookup import list_unsorted_runs
from engines.runs.overview import read_entry
from engines.runs.snapshot import describe_edited_paths
from engines.runs.store import Run
from nanochat_tui.commands import Options
from nanochat_tui.headless.formatting import format_loss, format_step_count
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.streams import print_json, print_table

_COLUMNS = ["run", "state", "model", "data", "step", "bpb", "best", "tok/s", "time", "guards", "age"]
_RESULTS_COLUMN = "results directory"


def runs(options: Options) -> int:
    """Print one line per run of the results directory, oldest first."""
    results = results_of(options)
    found = list_unsorted_runs(results)
    records = [record for run in found if (record := _read_record(run))]
    records.sort(key=lambda record: (record["created_at"], record["run"]))
    if options.json:
        for record in records:
            print_json(record)
    elif records:
        _print_records(records, results)
    elif not found:
        print("no runs yet; start one with: nanochat-tui --no-ui train", file=sys.stderr)
    return 0


def other_results_directory(run: Path, results: Path) -> str:
    """Return the results directory of a run (its path) if it is not `results`, else an empty string."""
    folder = run.parent.parent
    return "" if folder == results else str(folder)


def _print_records(records: list[dict[str, Any]], results: Path) -> None:
    columns, rows = _COLUMNS, [_cells(record) for record in records]
    others = [other_results_directory(Path(record["path"]), results) for record in records]
    if any(others):
        columns = [*columns, _RESULTS_COLUMN]
        rows = [[*row, folder] for row, folder in zip(rows, others, strict=True)]
    print_table(columns, rows)


def _read_record(run: Run) -> dict[str, Any] | None:
    """Return the figures of a run; None for a directory that is not a run or an unreadable run, which is reported."""
    try:
        config, state, overview = read_entry(run)
    except UserError as error:
        if os.path.lexists(run.config_path):
            print(error, file=sys.stderr)
        return None
    except OSError as error:
        print(f"run {run.id} cannot be read: {error.filename or run.path}: {format_os_error(error)}.", file=sys.stderr)
        return None
    if overview.damage:
        print(f"run {run.id}: {overview.damage}", file=sys.stderr)
    for sentence in describe_edited_paths(run, config):
        print(sentence, file=sys.stderr)
    mean_speed = overview.tokens / overview.seconds if overview.seconds > 0 else 0.0
    return {
        "run": run.id,
        "path": str(run.path),
        "state": state,
        "mode": config["resolved"]["mode"],
        "model_kind": config["resolved"]["model_kind"],
        "data": config["resolved"]["data"],
        "step": overview.step,
        "steps": config["resolved"]["steps"],
        "bpb": overview.bpb,
        "best_bpb": overview.best_bpb,
        "tokens_per_second": round(overview.tokens_per_second if state == "running" else mean_speed, 1),
        "elapsed_seconds": overview.elapsed,
        "guards": overview.guard_count,
        "created_at": config["created_at"],
        "unreadable": overview.damage or None,
    }


def _cells(record: dict[str, Any]) -> list[str]:
    """Return the texts of one table row, in the order of `_COLUMNS`."""
    return [
        record["run"],
        f"{liveness.GLYPHS[record['state']]} {record['state']}",
        f"{record['mode']} {record['model_kind']}",
        record["data"].rpartition("/")[2],
        format_step_count(record["step"], record["steps"]),
        "" if record["bpb"] is None else format_loss(record["bpb"], 3),
        "" if record["best_bpb"] is None else format_loss(record["best_bpb"], 3),
        f"{record['tokens_per_second']:,.0f}" if record["tokens_per_second"] else "",
        format_duration(record["elapsed_seconds"]) if record["step"] else "",
        str(record["guards"]),
        format_age(record["created_at"]),
    ]
