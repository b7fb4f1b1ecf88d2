"""show: details of one run, as text or as JSON."""

import sys
from typing import Any, NamedTuple

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.snapshot import describe_damage, read_snapshot
from engines.runs.store import Run
from engines.settings.requirements import flag_of
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from nanochat_tui.commands import Options
from nanochat_tui.headless.event_text import format_event, format_metrics
from nanochat_tui.headless.formatting import format_step
from nanochat_tui.headless.lookup import named_run, results_of
from nanochat_tui.headless.runs import other_results_directory
from nanochat_tui.streams import print_json

_MAX_EVENTS = 10  # of each kind
_LABEL_WIDTH = 12


class _Details(NamedTuple):
    """A run and everything that `show` prints about it."""

    run: Run
    config: dict[str, Any]
    state: str
    history: History


def show(options: Options) -> int:
    """Print the settings, the state and the results of one run."""
    run = named_run(options)
    config = run.config
    state, history, newer_schema = read_snapshot(run)
    for sentence in describe_damage(run, history):
        print(sentence, file=sys.stderr)
    details = _Details(run, config, state, history)
    if options.json:
        print_json(_as_json(details))
        return 0
    is_elsewhere = bool(other_results_directory(run.path, results_of(options)))
    print("\n".join(_as_text(details, is_elsewhere)))
    if newer_schema:
        raise UserError(f"run {run.id}: {newer_schema}.")
    return 0


def _as_text(details: _Details, is_elsewhere: bool) -> list[str]:
    """Return the lines to print. `is_elsewhere`: the run is in another results directory."""
    run, config, state, history = details
    resolved = config["resolved"]
    progress = f"{format_step(history.step, resolved['steps'])}  {format_metrics(history, resolved['steps'], state)}"
    rows = {
        "path": f"{run.path}{' (another results directory)' * is_elsewhere}",
        "model": f"{resolved['mode']} {resolved['model_kind']}, {_describe_sizes(config)}",
        "text": _describe_text(config.get("facts", {})),
    }
    if parent := config.get("parent"):
        rows["parent"] = f"run {parent['run']}, step {parent['step']:,}"
    rows["options"] = _given_options(config) or "none: all settings have their defaults"
    lines = [f"{liveness.GLYPHS[state]} {run.id}  {state}  {progress}", *_table(rows)]
    lines += [f"  {format_event(event, history, resolved['steps'])}" for event in _latest_events(history)]
    return lines + _table(_ending(details))


def _table(rows: dict[str, str]) -> list[str]:
    return [f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in rows.items() if text]


def _latest_events(history: History) -> list[dict[str, Any]]:
    return [
        *history.evals[-_MAX_EVENTS:],
        *history.samples[-1:],
        *history.guards[-_MAX_EVENTS:],
        *history.notes[-_MAX_EVENTS:],
    ]


def _ending(details: _Details) -> dict[str, str]:
    """Return the rows about checkpoints, how the run ended, and how to resume it."""
    run, _, state, history = details
    steps = ", ".join(map(str, list_steps(run.checkpoints_dir)))
    rows = {"checkpoints": f"steps {steps} in {run.checkpoints_dir}" if steps else "none yet"}
    if ended := liveness.find_ending(run, history):
        rows["ended"] = ended["detail"] or ""
    if state == "killed":
        rows["resume with"] = f"nanochat-tui --no-ui resume {run.id}"
    return rows


def _as_json(details: _Details) -> dict[str, Any]:
    run, config, state, history = details
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
        "ended": liveness.find_ending(run, history),
        "unreadable": history.damage or None,
        "config": config,
    }


def _describe_sizes(config: dict[str, Any]) -> str:
    """Return the numbers of parameters and tokens, which the worker records when it has read the data."""
    facts = config.get("facts")
    if not facts:
        return "not started"
    return (
        f"{facts['parameters']:,} parameters, vocabulary {facts['vocab_size']:,}, "
        f"{facts['train_tokens']:,} training and {facts['val_tokens']:,} validation tokens"
    )


def _describe_text(facts: dict[str, Any]) -> str:
    """Return the numbers of files that were read, and of validation documents that are also in the training text."""
    parts = []
    if facts.get("files_used"):
        parts.append(f"files: {facts['files_used']:,} used, {facts['files_skipped']:,} skipped")
    if facts.get("shared_documents"):
        shared, documents = facts["shared_documents"], facts["val_documents"]
        parts.append(f"{shared:,} of {documents:,} validation documents also in the training text")
    return "; ".join(parts)


def _given_options(config: dict[str, Any]) -> str:
    """Return the given settings that differ from the defaults, as command line options."""
    defaults = resolve({"model_kind": config["resolved"]["model_kind"]})
    known = TrainSettings.__dataclass_fields__
    return " ".join(
        f"{flag_of(name)} {value}"
        for name, value in config["given"].items()
        if name in known and getattr(defaults, name) != value
    )
