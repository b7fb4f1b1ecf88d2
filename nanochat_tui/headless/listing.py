"""runs, show: what is there, told as text or as JSON lines."""

import json
import sys
import time
from typing import Any

from engines import checkpoints
from engines.config import TrainSettings, resolve
from engines.errors import LabError
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.overview import read_state
from engines.runs.reader import EventReader
from engines.runs.store import Run, find_run, results_dir, unsorted_runs
from nanochat_tui.commands import Options
from nanochat_tui.headless.lines import duration, figures, sentence

_COLUMNS = ["run", "state", "model", "data", "step", "bpb", "best", "tok/s", "guards", "age"]
_SHOWN_EVALS = 10


def runs(options: Options) -> int:
    """A line for each run of the results directory, oldest first."""
    found = unsorted_runs(results_dir(options.words["results_dir"]))
    rows = sorted((row for run in found if (row := _row(run))), key=lambda row: (row["created_at"], row["run"]))
    if options.json:
        for row in rows:
            print(json.dumps(row))
        return 0
    if not rows:
        print("no runs yet; start one with: nanochat-tui --no-ui train", file=sys.stderr)
        return 0
    _print_table([_cells(row) for row in rows])
    return 0


def show(options: Options) -> int:
    """One run: what it was asked, how it stands, what it reached."""
    run = find_run(options.words["run"], results_dir(options.words["results_dir"]))
    state, history, reader = read(run)
    config = run.config
    if options.json:
        print(json.dumps(_details(run, state, history, config)))
        return 0
    resolved, steps = config["resolved"], config["resolved"]["steps"]
    print(f"{liveness.GLYPHS[state]} {run.id}  {state}  step {history.step:,}/{steps:,}  {figures(history, steps)}")
    print(f"  in      {run.path}")
    print(f"  model   {resolved['mode']} {resolved['model_kind']}, {_facts(config)}")
    if text := _text(config.get("facts", {})):
        print(f"  text    {text}")
    if parent := config.get("parent"):
        print(f"  from    run {parent['run']}, step {parent['step']}")
    print(f"  asked   {_asked(config) or 'nothing: all defaults'}")
    for event in [*history.evals[-_SHOWN_EVALS:], *history.samples[-1:], *history.guards[-_SHOWN_EVALS:]]:
        print(f"  {sentence(event, history, steps)}")
    kept = ", ".join(map(str, checkpoints.list_steps(run.checkpoints_dir)))
    print(f"  kept    checkpoints of steps {kept or '(none)'} in {run.checkpoints_dir}")
    if history.ended and history.ended["detail"]:
        print(f"  ended   {history.ended['detail']}")
    if state == "killed":
        print(f"  killed: go on with: nanochat-tui --no-ui resume {run.id}")
    if history.damage:
        print(f"  note    {history.damage}")
    if reader.newer_schema:
        raise LabError(f"run {run.id}: {reader.newer_schema}.")
    return 0


def read(run: Run) -> tuple[str, History, EventReader]:
    """State and history of a run as they are now. The lock is looked at first: see `liveness.state`."""
    held = liveness.lock_is_held(run.lock_path)
    reader, history = EventReader(run.events_path), History()
    for _ in history.read(reader):
        pass
    state = liveness.live_state(run, history) if held else liveness.ended_state(run, history)
    return state, history, reader


def _row(run: Run) -> dict[str, Any] | None:
    """None for a run that is being deleted, or whose manifest cannot be read, which is told."""
    try:
        config = run.config
    except LabError as error:
        if run.config_path.exists():
            print(error, file=sys.stderr)
        return None
    state, overview = read_state(run)
    return {
        "run": run.id,
        "state": state,
        "mode": config["resolved"]["mode"],
        "model_kind": config["resolved"]["model_kind"],
        "data": config["resolved"]["data"],
        "step": overview.step,
        "steps": config["resolved"]["steps"],
        "bpb": overview.bpb,
        "best_bpb": overview.best_bpb,
        "tokens_per_second": round(overview.tokens_per_second, 1),
        "guards": overview.guard_count,
        "created_at": config["created_at"],
        "unreadable": overview.damage or None,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["run"],
        f"{liveness.GLYPHS[row['state']]} {row['state']}",
        f"{row['mode']} {row['model_kind']}",
        row["data"].rpartition("/")[2],
        f"{row['step']:,}/{row['steps']:,}",
        "" if row["bpb"] is None else f"{row['bpb']:.3f}",
        "" if row["best_bpb"] is None else f"{row['best_bpb']:.3f}",
        f"{row['tokens_per_second']:,.0f}",
        str(row["guards"]),
        duration(time.time() - row["created_at"]),
    ]


def _print_table(rows: list[list[str]]) -> None:
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*_COLUMNS, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        Console().print(table, markup=False)
        return
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in [_COLUMNS, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _details(run: Run, state: str, history: History, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": run.id,
        "path": str(run.path),
        "state": state,
        "step": history.step,
        "tokens": history.tokens,
        "loss": history.last_loss,
        "evals": history.evals,
        "guards": history.guards,
        "sample": history.samples[-1] if history.samples else None,
        "checkpoints": checkpoints.list_steps(run.checkpoints_dir),
        "ended": history.ended,
        "unreadable": history.damage or None,
        "config": config,
    }


def _facts(config: dict[str, Any]) -> str:
    facts = config.get("facts")
    if not facts:
        return "not started"
    return (
        f"{facts['parameters']:,} parameters, vocabulary {facts['vocab_size']:,}, "
        f"{facts['train_tokens']:,} training and {facts['val_tokens']:,} validation tokens"
    )


def _text(facts: dict[str, Any]) -> str:
    """The files of a run's text, and its documents that are on both sides of the split."""
    parts = []
    if facts.get("files_used"):
        parts.append(f"files: {facts['files_used']:,} used, {facts['files_skipped']:,} skipped")
    if facts.get("shared_documents"):
        shared, documents = facts["shared_documents"], facts["val_documents"]
        parts.append(f"{shared:,} of {documents:,} validation documents also in the training text")
    return "; ".join(parts)


def _asked(config: dict[str, Any]) -> str:
    """What differs from the defaults, as flags."""
    defaults = resolve({"model_kind": config["resolved"]["model_kind"]})
    known = TrainSettings.__dataclass_fields__
    return " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in config["given"].items()
        if name in known and getattr(defaults, name) != value
    )
