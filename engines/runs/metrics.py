"""What a run reached, in figures, and how each is written: one list for reports and for the terminal."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from engines.runs.comparison import get_section
from engines.runs.record import Record

LAST_LOSSES = 50  # steps behind the mean training loss, as in the runs' summaries
UNKNOWN = "–"


class Metric(NamedTuple):
    """`value` is None where there is none, NaN where it was no number."""

    name: str
    label: str
    value: Callable[[Record], Any]
    told: Callable[[Any], str] = str


def _fixed(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.3e}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _seconds(value: float) -> str:
    return f"{value:,.1f} s"


def _latest(name: str) -> Callable[[Record], float | None]:
    return lambda record: number(record.history.evals[-1][name]) if record.history.evals else None


def _best(name: str) -> Callable[[Record], Any]:
    return lambda record: best[name] if (best := record.history.best_eval) else None


def number(value: float | None) -> float:
    """JSON has no NaN: an evaluation's null means one."""
    return math.nan if value is None else value


def _mean_loss(record: Record) -> float | None:
    last = record.history.newest_losses(LAST_LOSSES)
    return sum(last) / len(last) if last else None


def _tokens_per_second(record: Record) -> float | None:
    return record.history.tokens / seconds if (seconds := _train_seconds(record)) else None


def _train_seconds(record: Record) -> float | None:
    return None if math.isnan(record.train_seconds) else record.train_seconds


def _mfu(record: Record) -> float | None:
    """Of the whole run, where the engine said what its GPU could do."""
    engine, rate = record.history.engine, _tokens_per_second(record)
    if engine is None or not engine["peak_flops"] or rate is None:
        return None
    return rate * float(engine["flops_per_token"]) / float(engine["peak_flops"])


def _guards(record: Record) -> str:
    rules = [event["rule"] for event in record.history.guards]
    return ", ".join(f"{rule} × {rules.count(rule)}" for rule in dict.fromkeys(rules)) or "none"


METRICS = (
    Metric("state", "state", lambda record: record.state),
    Metric("steps", "steps", lambda record: record.history.step, _whole),
    Metric("steps_asked", "steps asked", lambda record: record.settings.get("steps"), _whole),
    Metric("tokens", "tokens", lambda record: record.history.tokens, _whole),
    Metric("parameters", "parameters", lambda record: get_section(record.config, "facts").get("parameters"), _whole),
    Metric("final_loss", "last loss", lambda record: record.history.last_loss, _fixed),
    Metric(f"mean_loss_last_{LAST_LOSSES}", f"mean of last {LAST_LOSSES} losses", _mean_loss, _fixed),
    Metric("val_loss", "last val loss", _latest("loss"), _fixed),
    Metric("val_bpb", "last val bpb", _latest("bpb"), _fixed),
    Metric("best_val_loss", "best val loss", _best("loss"), _fixed),
    Metric("best_bpb", "best val bpb", _best("bpb"), _fixed),
    Metric("best_step", "best at step", _best("step"), _whole),
    Metric("tokens_per_second", "tokens/s", _tokens_per_second, _whole),
    Metric("mfu", "MFU", _mfu, _percent),
    Metric("train_seconds", "time in steps", _train_seconds, _seconds),
    Metric("wall_seconds", "time in all", lambda record: record.history.last_t, _seconds),
    Metric("guards", "guards", _guards),
    Metric("checkpoints", "checkpoints kept", lambda record: len(record.kept_checkpoints()), _whole),
)


def metrics(record: Record) -> dict[str, Any]:
    return {metric.name: metric.value(record) for metric in METRICS}


def told(metric: Metric, value: Any) -> str:
    """A dash for what there is not, and `nan` for what was no number."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        return metric.told(value)
    except (TypeError, ValueError):  # a manifest may hold anything
        return str(value)
