"""Our side: the commands of a race, and what a run directory tells of one."""

import shutil
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from engines.bench.nanochat import budgets
from engines.bench.nanochat.budgets import Budget
from engines.bench.nanochat.summaries import percentiles
from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.errors import UserError
from engines.runs.history import History, read_history
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.system.subprocesses import python_path


def environment(caches: Path) -> dict[str, str]:
    """Caches of its own, so that a cold start is one."""
    return {
        "PYTHONPATH": python_path(),
        "XDG_CACHE_HOME": str(caches / "text"),
        "XDG_STATE_HOME": str(caches / "state"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
    }


def train_command(
    python: str, budget: Budget, paths: dict[str, Path], results: Path, steps: int, seed: int, device: str,
    extra: Sequence[str],
) -> list[str]:  # fmt: skip
    """The results directory is the run's alone. What `extra` says comes last, and wins."""
    command = [python, "-m", "nanochat_tui", "--no-ui", "train", "--results-dir", str(results)]
    command += ["--data", str(paths["train"]), "--val-data", str(paths["val"])]
    command += ["--seed", str(seed), "--device", device]
    return [*command, *budgets.our_flags(budget, steps), *extra]


def resume_command(python: str, results: Path) -> list[str]:
    return [python, "-m", "nanochat_tui", "--no-ui", "resume", "last", "--results-dir", str(results)]


def clear(folder: Path) -> None:
    """No run of an earlier race stands where a new one will, and nothing is kept for a cold start."""
    shutil.rmtree(folder, ignore_errors=True)


def the_run(results: Path) -> Run:
    runs = list_runs(results)
    if len(runs) != 1:
        raise UserError(f"{results} holds {len(runs)} runs where one was expected; train again.")
    return runs[0]


def last_checkpoint(results: Path) -> Path:
    folder = the_run(results).checkpoints_dir
    steps = list_steps(folder)
    if not steps:
        raise UserError(f"{folder} has no checkpoint; train again.")
    return get_checkpoint_path(folder, steps[-1])


def read_training(results: Path, started_at: float) -> dict[str, Any]:
    """Figures of one training that was started at that unix time. UserError where it has too few steps."""
    run = the_run(results)
    history = read_history(run)
    if history.step < 3:
        raise UserError(f"it took {history.step} steps, fewer than 3")
    config = run.config
    # The first step to be over is not an event of its own: the phase's begin, and what comes before it, are.
    seconds = list(history.seconds)
    rates = [history.tokens / history.step / each for each in seconds if each > 0]
    engine = history.engine or {}
    return {
        "parameters": config["facts"]["parameters"],
        "flops_per_token": engine.get("flops_per_token"),
        "steps": history.step,
        "rows": config["resolved"]["batch_size"],
        "tokens_per_second": percentiles(rates),
        "step_seconds": median(seconds),
        "training_seconds": sum(seconds),
        "first_step_seconds": _first_step(history) + config["created_at"] - started_at,
        "choices": engine.get("choices", []),
        "phases": {event["phase"]: event["t"] for event in history.phases},
        "curve": curve(history),
        "losses": list(history.losses),
    }


def curve(history: History) -> list[tuple[float, float]]:
    """(seconds of training, bits per byte of val) at each evaluation."""
    until = [0.0, *accumulate(history.seconds)]
    return [(until[event["step"]], event["bpb"]) for event in history.evals if event["bpb"] is not None]


def _first_step(history: History) -> float:
    """Seconds of the run when its first step was over: it follows the evaluation of the model as it begins."""
    begun = next((event["t"] for event in history.phases if event["phase"] == "train"), 0.0)
    before = next((event["t"] for event in history.evals if event["step"] == 0), begun)
    return float(max(begun, before) + history.seconds[0])
