"""A run as a line of the table: read in a thread, then only compared and shown."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from engines.runs.history import History
from engines.runs.store import Run
from engines.runs.watch import Watch

TREND = 12  # parts of the loss's sparkline


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """What the table tells of one run. Figures that are not known are None."""

    watch: Watch
    state: str
    live: bool
    engine: str
    kind: str
    corpus: str
    step: int
    steps: int | None
    best_bpb: float | None
    tokens_per_second: float | None
    created_at: float | None
    guards: tuple[tuple[str, int], ...]  # what was done, and how often
    trend: tuple[float, ...]  # mean losses of equal parts of the run
    problem: str
    elsewhere: str  # the results directory that it is in, if it is not the requested one

    @property
    def run(self) -> Run:
        return self.watch.run

    @property
    def key(self) -> str:
        return str(self.run.path)

    @property
    def guard_count(self) -> int:
        return sum(count for _, count in self.guards)

    def fits(self, words: Iterable[str]) -> bool:
        """Whether every word is part of its id, state, engine, kind or corpus."""
        told = f"{self.run.id} {self.state} {self.engine} {self.kind} {self.corpus}".lower()
        return all(word.lower() in told for word in words)


class RowReader:
    """Makes rows of watches; of a run that has not changed it gives back the very same row."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[tuple[Any, ...], Row]] = {}

    def read(self, watches: Iterable[Watch], results: Path) -> list[Row]:
        """`results` is the requested results directory."""
        known, self._rows = self._rows, {}
        for watch in watches:
            mark = _mark(watch)
            key = str(watch.run.path)
            found = known.get(key)
            self._rows[key] = found if found and found[0] == mark else (mark, _row(watch, results))
        return [row for _, row in self._rows.values()]


def _mark(watch: Watch) -> tuple[Any, ...]:
    """Differs when the row would."""
    history = watch.history
    counts = (len(history.losses), len(history.evals), len(history.guards), len(history.runs))
    last = history.losses[-1:].tobytes()
    return (id(watch), id(history), counts, last, watch.state, watch.problem, "facts" in watch.config)


def _row(watch: Watch, results: Path) -> Row:
    """What cannot be understood of a foreign or damaged manifest stays unknown."""
    history = watch.history
    settings = watch.part("resolved")
    created_at = watch.config.get("created_at")
    best = history.best_eval
    moving = watch.state == "running" or not watch.is_live
    return Row(
        watch,
        watch.state,
        watch.is_live,
        str(settings.get("mode", "?")),
        str(settings.get("model_kind", "?")),
        str(settings.get("data", "?")).rstrip("/").rpartition("/")[2],
        history.step,
        _number(settings.get("steps")),
        best["bpb"] if best else None,
        (history.tokens_per_second() or None) if moving else None,
        float(created_at) if isinstance(created_at, int | float) else None,
        tuple(Counter(event["action"] for event in list(history.guards)).items()),
        _trend(history),
        watch.problem,
        "" if watch.run.results == results else str(watch.run.results),
    )


def _number(value: object) -> int | None:
    return value if type(value) is int else None


def _trend(history: History) -> tuple[float, ...]:
    """A part with a loss that is no number has a mean that is none: it is seen."""
    losses = history.losses
    count = len(losses)
    parts = min(TREND, count)
    bounds = [count * i // parts for i in range(parts + 1)] if parts else []
    return tuple(sum(losses[a:b]) / (b - a) for a, b in pairwise(bounds))
