"""The values of a run by step. If a step was trained twice, the values of the last time count."""

import heapq
import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

from engines.events import Event, decode_column
from engines.runs.comparison import get_section
from engines.runs.history import History
from engines.runs.reader import EventReader
from engines.runs.record import RunRecord

_MAX_STEP = 2**63  # the limit of other tools; a damaged log may contain any number
_MICROSECONDS = 6  # decimal digits of durations in the log


class StepValues(NamedTuple):
    """The values of one training step.

    `t` is the time of its end in seconds since the first start of the run; `tokens` is the total up to this step.
    """

    step: int
    t: float
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    seconds: float
    tokens_per_second: float | None


class SeriesPoint(NamedTuple):
    """Named numbers of one step, or the sample that was generated there."""

    step: int
    t: float
    numbers: dict[str, float]
    sample: str | None = None


def iterate_steps(record: RunRecord) -> Iterator[StepValues]:
    """Yield the values of every step that could be read."""
    history, times = record.history, _read_end_times(record)
    for step in chain.from_iterable(history.iter_readable()):
        index = step - 1
        seconds = history.seconds[index]
        yield StepValues(
            index + 1,
            times[index],
            history.losses[index],
            history.lr[index],
            history.grad_norms[index],
            history.tokens * (index + 1) // history.step,
            seconds,
            record.tokens_per_step / seconds if seconds > 0 else None,
        )


def iterate_rows(events: Sequence[Event], names: Sequence[str]) -> Iterator[list[Any]]:
    """Yield the named fields of each event, with NaN and infinity restored."""
    for event in events:
        texts = get_section(event, "nonfinite")
        yield [float(texts[name]) if texts.get(name) in ("nan", "inf", "-inf") else event.get(name) for name in names]


def iterate_points(record: RunRecord) -> Iterator[SeriesPoint]:
    """Yield training steps, evaluations and samples in the order of their steps."""
    history = record.history
    samples = (SeriesPoint(event["step"], event["t"], {}, event["text"]) for event in history.samples)
    return heapq.merge(
        map(_training_point, iterate_steps(record)),
        _sort_points(_eval_points(history.evals)),
        _sort_points(samples),
        key=_step_of,
    )


def _sort_points(points: Iterator[SeriesPoint]) -> list[SeriesPoint]:
    return sorted((point for point in points if 0 <= point.step < _MAX_STEP), key=_step_of)


def start_time(record: RunRecord) -> float:
    """Return the Unix time from which `t` of a run counts; 0 if the manifest has no start time."""
    parent = get_section(record.config, "parent")
    seconds = parent.get("seconds", 0.0)  # the clock of a fork continues that of its parent
    return record.run.created_at - (seconds if isinstance(seconds, int | float) else 0.0)


def _step_of(point: SeriesPoint) -> int:
    return point.step


def _training_point(step: StepValues) -> SeriesPoint:
    numbers = {"train/loss": step.loss, "train/lr": step.lr, "train/grad_norm": step.grad_norm}
    if step.tokens_per_second is not None:
        numbers["train/tokens_per_second"] = step.tokens_per_second
    return SeriesPoint(step.step, step.t, {**numbers, "train/tokens": step.tokens})


def _eval_points(events: Sequence[Event]) -> Iterator[SeriesPoint]:
    names = ("loss", "bpb", "floor_bpb")
    for event, values in zip(events, iterate_rows(events, names), strict=True):
        numbers = {f"val/{name}": value for name, value in zip(names, values, strict=True) if value is not None}
        yield SeriesPoint(event["step"], event["t"], numbers)


def _read_end_times(record: RunRecord) -> "array[float]":
    """Return the time at which each step ended.

    The history has the duration of each step; only the log has the time at which the last step of a line ended.
    """
    times, history = array("d"), History(recent=1)
    for _, event in EventReader(record.run.events_path).poll():
        history.apply([event])
        if len(history.rewinds) > len(record.history.rewinds):  # a live run was resumed in the meantime
            break
        del times[history.step :]
        if event["kind"] == "steps" and history.step == event["first_step"] + len(event["seconds"]) - 1:
            del times[event["first_step"] - 1 :]
            _fill_up(times, event["first_step"] - 1)
            after = [*accumulate(reversed(decode_column(event, "seconds")[1:]), initial=0.0)]
            times.extend(round(event["t"] - seconds, _MICROSECONDS) for seconds in reversed(after))
        _fill_up(times, history.step)
    return times


def _fill_up(times: "array[float]", length: int) -> None:
    """Append NaN for steps that could not be read."""
    times.extend([math.nan] * (length - len(times)))
