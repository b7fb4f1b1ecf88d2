"""runs, show: what is there, told as text or as JSON lines."""

import os
import sys
from pathlib import Path
from typing import Any

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.files import reason_of
from engines.output.units import format_age, format_duration
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.lookup import find_run, results_dir, unsorted_runs
from engines.runs.overview import read_entry
from engines.runs.snapshot import damage_sentences, edited_paths_sentence, read_snapshot
from engines.runs.store import Run
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.event_text import figures, fixed, sentence, share_of, step_of
from nanochat_tui.streams import print_json, print_table

_COLUMNS = ["run", "state", "model", "data", "step", "bpb", "best", "tok/s", "time", "guards", "age"]
_ELSEWHERE = "results directory"
_SHOWN_EVALS = 10


def runs(options: Options) -> int:
    """A line for each run of the results directory, oldest first."""
    results = results_dir(options.words["results_dir"])
    found = unsorted_runs(results)
    rows = sorted((row for run in found if (row := _row(run))), key=lambda row: (row["created_at"], row["run"]))
    if options.json:
        for row in rows:
            print_json(row)
        return 0
    if not rows and not found:
        print("no runs yet; start one with: nanochat-tui --no-ui train", file=sys.stderr)
        return 0
    if not rows:
        return 0
    elsewhere = [_elsewhere(Path(row["path"]), results) for row in rows]
    columns, cells = _COLUMNS, [_cells(row) for row in rows]
    if any(elsewhere):
        columns = [*columns, _ELSEWHERE]
        cells = [[*line, folder] for line, folder in zip(cells, elsewhere, strict=True)]
    print_table(columns, cells)
    return 0


def show(options: Options) -> int:
    """One run: what it was asked, how it stands, what it reached."""
    results = results_dir(options.words["results_dir"])
    run = find_run(options.words["run"], results)
    config = run.config
    state, history, newer_schema = read_snapshot(run)
    for damage in damage_sentences(run, history):
        print(damage, file=sys.stderr)
    if options.json:
        print_json(_details(run, state, history, config))
        return 0
    resolved, steps = config["resolved"], config["resolved"]["steps"]
    standing = f"{step_of(history.step, steps)}  {figures(history, steps, state)}"
    print(f"{liveness.GLYPHS[state]} {run.id}  {state}  {standing}")
    print(f"  path    {run.path}{' (another results directory)' * bool(_elsewhere(run.path, results))}")
    print(f"  model   {resolved['mode']} {resolved['model_kind']}, {_facts(config)}")
    if text := _text(config.get("facts", {})):
        print(f"  text    {text}")
    if parent := config.get("parent"):
        print(f"  from    run {parent['run']}, step {parent['step']:,}")
    print(f"  asked   {_asked(config) or 'nothing: all defaults'}")
    newest = [*history.evals[-_SHOWN_EVALS:], *history.samples[-1:], *history.guards[-_SHOWN_EVALS:]]
    for event in [*newest, *history.notes[-_SHOWN_EVALS:]]:
        print(f"  {sentence(event, history, steps)}")
    kept = ", ".join(map(str, list_steps(run.checkpoints_dir)))
    print(f"  kept    checkpoints of steps {kept or '(none)'} in {run.checkpoints_dir}")
    if (ended := liveness.ending(run, history)) and ended["detail"]:
        print(f"  ended   {ended['detail']}")
    if state == "killed":
        print(f"  killed: go on with: nanochat-tui --no-ui resume {run.id}")
    if newer_schema:
        raise UserError(f"run {run.id}: {newer_schema}.")
    return 0


def _elsewhere(path: Path, results: Path) -> str:
    """Return the results directory of a run if it is another one, else an empty string."""
    folder = path.parent.parent
    return "" if folder == results else str(folder)


def _row(run: Run) -> dict[str, Any] | None:
    """Return the figures of a run; None for a folder that is not a run, or for an unreadable run, which is reported."""
    try:
        config, state, overview = read_entry(run)
    except UserError as error:
        if os.path.lexists(run.config_path):
            print(error, file=sys.stderr)
        return None
    except OSError as error:
        print(f"run {run.id} cannot be read: {error.filename or run.path}: {reason_of(error)}.", file=sys.stderr)
        return None
    if overview.damage:
        print(f"run {run.id}: {overview.damage}", file=sys.stderr)
    for edited in edited_paths_sentence(run, config):
        print(edited, file=sys.stderr)
    recent = overview.tokens_per_second
    mean = overview.tokens / overview.seconds if overview.seconds > 0 else 0.0
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
        "tokens_per_second": round(recent if state == "running" else mean, 1),
        "elapsed_seconds": overview.elapsed,
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
        share_of(row["step"], row["steps"]),
        "" if row["bpb"] is None else fixed(row["bpb"], 3),
        "" if row["best_bpb"] is None else fixed(row["best_bpb"], 3),
        f"{row['tokens_per_second']:,.0f}" if row["tokens_per_second"] else "",
        format_duration(row["elapsed_seconds"]) if row["step"] else "",
        str(row["guards"]),
        format_age(row["created_at"]),
    ]


def _details(run: Run, state: str, history: History, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": run.id,
        "path": str(run.path),
        "state": state,
        "step": history.step,
        "tokens": history.tokens,
        "tokens_per_second": history.mean_tokens_per_second() or None,
        "elapsed_seconds": history.last_t,
        "loss": history.last_loss,
        "evals": history.evals,
        "guards": history.guards,
        "sample": history.samples[-1] if history.samples else None,
        "checkpoints": list_steps(run.checkpoints_dir),
        "ended": liveness.ending(run, history),
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
    """Describe the files of a run's text, and its documents that are on both sides of the split."""
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
