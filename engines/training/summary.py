"""The figures of a run that has ended, for its summary.json."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from engines.runs.store import Run
from engines.training.ending import Ending

SCHEMA = 1


def summarize_ending(run: Run, ending: Ending) -> dict[str, Any]:
    """Return the summary of a run that ended before training began."""
    fields = {"reason": ending.reason, "detail": ending.detail, "exit_code": ending.exit_code}
    return {"v": SCHEMA, "run": run.id, **fields}


def summarize_training(
    training: Any, steps: int, facts: Mapping[str, Any], compute_mfu: Callable[[float], float | None]
) -> dict[str, Any]:
    """Return the figures of a run that trained `steps` steps; null for what it did not reach, and for NaN.

    `training` is a `loop.Training`, whose module is imported only once training begins.
    """
    state, callbacks = training.state, training.callbacks
    losses = list(state.recent_losses)
    evals = callbacks.evals
    last = evals[max(evals)] if evals else None
    best = evals.get(callbacks.best_step)
    tokens = steps * training.settings.tokens_per_step
    seconds = state.train_seconds
    figures = {
        "steps": steps,
        "tokens": tokens,
        "train_seconds": round(seconds, 6),
        "steps_per_second": round(steps / seconds, 2) if seconds else 0.0,
        "tokens_per_second": round(tokens / seconds, 2) if seconds else 0.0,
        "mfu": compute_mfu(tokens / seconds) if seconds else None,
        "final_loss": losses[-1] if losses else None,
        "mean_loss_last_n": sum(losses) / len(losses) if losses else None,
        "last_n": len(losses),
        "val_loss": last.loss if last else None,
        "val_bpb": last.bpb if last else None,
        "best_val_loss": best.loss if best else None,
        "best_bpb": best.bpb if best else None,
        "best_step": callbacks.best_step,
        "checkpoint_step": callbacks.saved_step if callbacks.saved_step >= 0 else None,
        **facts,
    }
    return {name: _as_json_number(value) for name, value in figures.items()}


def _as_json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
