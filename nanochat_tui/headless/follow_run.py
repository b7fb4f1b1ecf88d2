"""Follow a training run to its end, then print how it ended and its result."""

import subprocess
import sys
from typing import Any

from engines.errors import UserError
from engines.events import Event
from engines.runs.checked_json import read_checked_json
from engines.runs.store import Run
from nanochat_tui.commands import Options
from nanochat_tui.headless.follow import follow
from nanochat_tui.headless.formatting import format_exact_loss
from nanochat_tui.headless.presenters import choose_presenter


def follow_run(run: Run, process: "subprocess.Popen[bytes] | None", options: Options) -> int:
    """Follow a run until it ends, and return the exit code. `process` is its worker if this command started it."""
    presenter = choose_presenter(options.json, run.config["resolved"]["steps"])
    state, ended, exit_code = follow(run, process, presenter)
    if state == "running":
        return exit_code
    _print_ending(run, state, ended)
    if not options.json and run.summary_path.exists() and (line := _read_result_line(run)):
        print(line, flush=True)
    return exit_code


def print_run_path(run: Run, options: Options) -> None:
    """Print the id and the path of a new run on stderr."""
    if not options.json:
        print(f"run {run.id} in {run.path}", file=sys.stderr)


def _print_ending(run: Run, state: str, ended: Event | None) -> None:
    """Print how a run ended and how to continue. Raises UserError if it crashed on an error of the user."""
    resume = f"resume with: nanochat-tui --no-ui resume {run.id}"
    if ended is None or state == "killed":
        print(f"run {run.id} {state}: its worker exited unexpectedly; {resume}", file=sys.stderr)
    elif state == "crashed" and ended["traceback"] is None:
        raise UserError(ended["detail"])
    elif state == "crashed":
        print(f"run {run.id} crashed: {ended['detail']}; the traceback is in {run.events_path}", file=sys.stderr)
    elif state == "halted":
        print(f"run {run.id} halted: {ended['detail']}", file=sys.stderr)
    elif state == "stopped":
        print(f"run {run.id} stopped at step {ended['step']}; {resume}", file=sys.stderr)
    elif ended["detail"]:
        print(f"run {run.id} finished: {ended['detail']}", file=sys.stderr)


# --- the result line ----------------------------------------------------------------------------------


def _read_result_line(run: Run) -> str:
    """Return the result line; empty if no step was trained. Raises UserError if summary.json is damaged."""
    try:
        summary = read_checked_json(run.summary_path)
        return result_line(run.config, summary) if "steps" in summary else ""
    except (ValueError, TypeError, KeyError, OverflowError):
        raise UserError(
            f"{run.summary_path} is damaged. Read the results from the log: nanochat-tui --no-ui show {run.id}"
        ) from None


def result_line(config: dict[str, Any], summary: dict[str, Any]) -> str:
    """Return the results of a run as key=value pairs; first those that the Rust predecessor of this program printed."""
    settings = config["resolved"]
    pairs = {
        **{key: settings[key] for key in ("mode", "model_kind", "style", "tie_lm_head", "input_rmsnorm")},
        "params": summary["parameters"],
        "steps": summary["steps"],
        "final_loss": format_exact_loss(summary["final_loss"]),
        "val_loss": format_exact_loss(summary["val_loss"]),
        f"mean_loss_last_{summary['last_n']}": format_exact_loss(summary["mean_loss_last_n"]),
        "steps_per_sec": f"{summary['steps_per_second']:.2f}",
        "tokens_per_sec": f"{summary['tokens_per_second']:.2f}",
        "vocab_size": summary["vocab_size"],
        "train_tokens": summary["train_tokens"],
        "val_bpb": format_exact_loss(summary["val_bpb"]),
        "best_bpb": format_exact_loss(summary["best_bpb"]),
        "best_step": summary["best_step"],
        "seconds": f"{summary['train_seconds']:.3f}",
        "state": summary["reason"],
        "run": config["run"],
    }
    return " ".join(f"{key}={_format_value(value)}" for key, value in pairs.items())


def _format_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
