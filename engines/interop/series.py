"""What a run has to tell other tools, by step. A step that was trained twice counts as it was last."""

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
from engines.runs.record import Record

_MOST_STEPS = 2**63  # what others can count; a damaged log may say anything
_MICROSECONDS = 6  # digits, as many as a step's duration has in the log


class Step(NamedTuple):
    """`t` is when it was done, in seconds since the run's first start; `tokens` counts from the run's beginning."""

    step: int
    t: float
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    seconds: float
    tokens_per_second: float | None


class Point(NamedTuple):
    """Numbers of one step, and what the model said there."""

    step: int
    t: float
    numbers: dict[str, float]
    sample: str | None = None


def steps(record: Record) -> Iterator[Step]:
    history, times = record.history, _times(record)
    for step in chain.from_iterable(history.readable()):
        index = step - 1
        seconds = history.seconds[index]
        yield Step(
            index + 1,
            times[index],
            history.losses[index],
            history.lr[index],
            history.grad_norms[index],
            history.tokens * (index + 1) // history.step,
            seconds,
            record.tokens_a_step / seconds if seconds > 0 else None,
        )


def rows(events: Sequence[Event], names: Sequence[str]) -> Iterator[list[Any]]:
    """Fields of events, with NaNs and infinities put back."""
    for event in events:
        words = get_section(event, "nonfinite")
        yield [float(words[name]) if words.get(name) in ("nan", "inf", "-inf") else event.get(name) for name in names]


def points(record: Record) -> Iterator[Point]:
    """Steps, evaluations and samples, by step."""
    history = record.history
    told = (_evaluations(history.evals), (Point(e["step"], e["t"], {}, e["text"]) for e in history.samples))
    return heapq.merge(
        map(_training, steps(record)),
        *(sorted((p for p in some if 0 <= p.step < _MOST_STEPS), key=_step) for some in told),
        key=_step,
    )


def first_start(record: Record) -> float:
    """Unix time from which a run's `t` counts; 0 where the manifest does not tell."""
    seconds = get_section(record.config, "parent").get("seconds", 0.0)  # a fork goes on with its parent's clock
    return record.run.created_at - (seconds if isinstance(seconds, int | float) else 0.0)


def _step(point: Point) -> int:
    return point.step


def _training(step: Step) -> Point:
    numbers = {"train/loss": step.loss, "train/lr": step.lr, "train/grad_norm": step.grad_norm}
    if step.tokens_per_second is not None:
        numbers["train/tokens_per_second"] = step.tokens_per_second
    return Point(step.step, step.t, {**numbers, "train/tokens": step.tokens})


def _evaluations(events: Sequence[Event]) -> Iterator[Point]:
    names = ("loss", "bpb", "floor_bpb")
    for event, values in zip(events, rows(events, names), strict=True):
        numbers = {f"val/{name}": value for name, value in zip(names, values, strict=True) if value is not None}
        yield Point(event["step"], event["t"], numbers)


def _times(record: Record) -> "array[float]":
    """When each step was done. The history has their durations; the log says when the last of a line was done."""
    times, again = array("d"), History(recent=1)
    for _, event in EventReader(record.run.events_path).poll():
        again.apply([event])
        if len(again.rewinds) > len(record.history.rewinds):  # a live run went back while we were reading
            break
        del times[again.step :]
        if event["kind"] == "steps" and again.step == event["first_step"] + len(event["seconds"]) - 1:
            del times[event["first_step"] - 1 :]
            _fill(times, event["first_step"] - 1)
            after = [*accumulate(reversed(decode_column(event, "seconds")[1:]), initial=0.0)]
            times.extend(round(event["t"] - seconds, _MICROSECONDS) for seconds in reversed(after))
        _fill(times, again.step)
    return times


def _fill(times: "array[float]", length: int) -> None:
    """Add NaN for steps that could not be read."""
    times.extend([math.nan] * (length - len(times)))
