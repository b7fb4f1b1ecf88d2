"""The results of a run in figures, and the format of each: one list for reports and for the terminal."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from engines.runs.comparison import get_section
from engines.runs.record import RunRecord

LAST_LOSSES = 50  # steps behind the mean training loss, as in the runs' summaries
UNKNOWN = "–"


class Metric(NamedTuple):
    """A figure of a run. `compute` returns None if the run has no such figure, and NaN if it is not finite."""

    name: str
    label: str
    compute: Callable[[RunRecord], Any]
    format: Callable[[Any], str] = str


def _fixed(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.3e}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _seconds(value: float) -> str:
    return f"{value:,.1f} s"


def _last_eval(field: str) -> Callable[[RunRecord], float | None]:
    return lambda record: to_float(record.history.evals[-1][field]) if record.history.evals else None


def _best_eval(field: str) -> Callable[[RunRecord], Any]:
    return lambda record: best[field] if (best := record.history.best_eval) else None


def to_float(value: float | None) -> float:
    """Return the value of an evaluation, in which null stands for NaN, as JSON has none."""
    return math.nan if value is None else value


def _mean_loss(record: RunRecord) -> float | None:
    last = record.history.newest_losses(LAST_LOSSES)
    return sum(last) / len(last) if last else None


def _tokens_per_second(record: RunRecord) -> float | None:
    return record.history.tokens / seconds if (seconds := _train_seconds(record)) else None


def _train_seconds(record: RunRecord) -> float | None:
    return None if math.isnan(record.train_seconds) else record.train_seconds


def _mfu(record: RunRecord) -> float | None:
    """Return the MFU of the whole run, if the engine recorded the peak FLOP/s of its GPU."""
    engine, rate = record.history.engine, _tokens_per_second(record)
    if engine is None or not engine["peak_flops"] or rate is None:
        return None
    return rate * float(engine["flops_per_token"]) / float(engine["peak_flops"])


def _guards(record: RunRecord) -> str:
    rules = [event["rule"] for event in record.history.guards]
    return ", ".join(f"{rule} × {rules.count(rule)}" for rule in dict.fromkeys(rules)) or "none"


METRICS = (
    Metric("state", "state", lambda record: record.state),
    Metric("steps", "steps", lambda record: record.history.step, _whole),
    Metric("steps_asked", "planned steps", lambda record: record.settings.get("steps"), _whole),
    Metric("tokens", "tokens", lambda record: record.history.tokens, _whole),
    Metric("parameters", "parameters", lambda record: get_section(record.config, "facts").get("parameters"), _whole),
    Metric("final_loss", "final loss", lambda record: record.history.last_loss, _fixed),
    Metric(f"mean_loss_last_{LAST_LOSSES}", f"mean of last {LAST_LOSSES} losses", _mean_loss, _fixed),
    Metric("val_loss", "final val loss", _last_eval("loss"), _fixed),
    Metric("val_bpb", "final val bpb", _last_eval("bpb"), _fixed),
    Metric("best_val_loss", "best val loss", _best_eval("loss"), _fixed),
    Metric("best_bpb", "best val bpb", _best_eval("bpb"), _fixed),
    Metric("best_step", "best step", _best_eval("step"), _whole),
    Metric("tokens_per_second", "tokens/s", _tokens_per_second, _whole),
    Metric("mfu", "MFU", _mfu, _percent),
    Metric("train_seconds", "training time", _train_seconds, _seconds),
    Metric("wall_seconds", "total time", lambda record: record.history.last_t, _seconds),
    Metric("guards", "guards", _guards),
    Metric("checkpoints", "checkpoints", lambda record: len(record.list_checkpoints()), _whole),
)


def compute_metrics(record: RunRecord) -> dict[str, Any]:
    """Return the metrics of a run by name."""
    return {metric.name: metric.compute(record) for metric in METRICS}


def format_metric(metric: Metric, value: Any) -> str:
    """Format a value: a dash if there is none, `nan` or `inf` if it is not finite."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        return metric.format(value)
    except (TypeError, ValueError):  # a manifest may contain anything
        return str(value)
