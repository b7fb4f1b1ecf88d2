"""Our side of a benchmark: its commands, and the results in its run directory."""

import shutil
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from engines.bench.nanochat import budgets
from engines.bench.nanochat.budgets import Budget
from engines.bench.nanochat.summaries import compute_percentiles
from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.errors import UserError
from engines.runs.history import History, read_history
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.system.subprocesses import python_path


def build_environment(caches: Path) -> dict[str, str]:
    """Return variables for separate caches, so that a start without caches can be measured."""
    return {
        "PYTHONPATH": python_path(),
        "XDG_CACHE_HOME": str(caches / "text"),
        "XDG_STATE_HOME": str(caches / "state"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
    }


def build_train_command(
    python: str, budget: Budget, paths: dict[str, Path], results: Path, steps: int, seed: int, device: str,
    extra: Sequence[str],
) -> list[str]:  # fmt: skip
    """Return the command of a training. `results` is for this run alone; `extra` options override the others."""
    command = [python, "-m", "nanochat_tui", "--no-ui", "train", "--results-dir", str(results)]
    command += ["--data", str(paths["train"]), "--val-data", str(paths["val"])]
    command += ["--seed", str(seed), "--device", device]
    return [*command, *budgets.build_our_flags(budget, steps), *extra]


def build_resume_command(python: str, results: Path) -> list[str]:
    """Return the command that resumes a training."""
    return [python, "-m", "nanochat_tui", "--no-ui", "resume", "last", "--results-dir", str(results)]


def clear_folder(folder: Path) -> None:
    """Remove the run or the caches of an earlier benchmark."""
    shutil.rmtree(folder, ignore_errors=True)


def find_only_run(results: Path) -> Run:
    """Return the only run in a results directory. Raises UserError if there is none or more than one."""
    runs = list_runs(results)
    if len(runs) != 1:
        raise UserError(f"{results} has {len(runs)} runs instead of one. Train again.")
    return runs[0]


def find_last_checkpoint(results: Path) -> Path:
    """Return the last checkpoint of the only run. Raises UserError if there is none."""
    folder = find_only_run(results).checkpoints_dir
    steps = list_steps(folder)
    if not steps:
        raise UserError(f"{folder} has no checkpoint. Train again.")
    return get_checkpoint_path(folder, steps[-1])


def read_training(results: Path, started_at: float) -> dict[str, Any]:
    """Return the figures of a training that was started at this Unix time. Raises UserError for fewer than 3 steps."""
    run = find_only_run(results)
    history = read_history(run)
    if history.step < 3:
        raise UserError(f"the training has {history.step} steps, fewer than 3")
    config = run.config
    seconds = list(history.seconds)
    rates = [history.tokens / history.step / each for each in seconds if each > 0]
    engine = history.engine or {}
    return {
        "parameters": config["facts"]["parameters"],
        "flops_per_token": engine.get("flops_per_token"),
        "steps": history.step,
        "rows": config["resolved"]["batch_size"],
        "tokens_per_second": compute_percentiles(rates),
        "step_seconds": median(seconds),
        "training_seconds": sum(seconds),
        "first_step_seconds": _compute_first_step_end(history) + config["created_at"] - started_at,
        "choices": engine.get("choices", []),
        "phases": {event["phase"]: event["t"] for event in history.phases},
        "curve": build_eval_curve(history),
        "losses": list(history.losses),
    }


def build_eval_curve(history: History) -> list[tuple[float, float]]:
    """Return (training seconds, validation bits per byte) of each evaluation."""
    elapsed = [0.0, *accumulate(history.seconds)]
    return [(elapsed[event["step"]], event["bpb"]) for event in history.evals if event["bpb"] is not None]


def _compute_first_step_end(history: History) -> float:
    """Return the seconds of the run at the end of its first step.

    There is no event for it: the step follows the start of the phase and the evaluation of the initial model.
    """
    phase_start = next((event["t"] for event in history.phases if event["phase"] == "train"), 0.0)
    eval_end = next((event["t"] for event in history.evals if event["step"] == 0), phase_start)
    return float(max(phase_start, eval_end) + history.seconds[0])
