"""A run as a line of the table: read in a thread, then only compared and shown."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engines.runs.store import Run
from engines.runs.watch import WatchedRun


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """What the table tells of one run. Figures that are not known are None."""

    watch: WatchedRun
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
    texts: dict[str, str] = dataclasses.field(default_factory=dict)  # of its cells, once they have been asked for

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

    def read(self, watches: Iterable[WatchedRun], results: Path) -> list[Row]:
        """`results` is the requested results directory."""
        known, self._rows = self._rows, {}
        for watch in watches:
            mark = _mark(watch)
            key = str(watch.run.path)
            found = known.get(key)
            self._rows[key] = found if found and found[0] == mark else (mark, _row(watch, results))
        return [row for _, row in self._rows.values()]


def _mark(watch: WatchedRun) -> tuple[Any, ...]:
    """Differs when the row would."""
    return (id(watch), watch.overview, watch.state, watch.problem, "facts" in watch.config)


def _row(watch: WatchedRun, results: Path) -> Row:
    """What cannot be understood of a foreign or damaged manifest stays unknown."""
    overview = watch.overview
    settings = watch.part("resolved")
    created_at = watch.config.get("created_at")
    moving = watch.state == "running" or not watch.is_live
    return Row(
        watch,
        watch.state,
        watch.is_live,
        str(settings.get("mode", "?")),
        str(settings.get("model_kind", "?")),
        str(settings.get("data", "?")).rstrip("/").rpartition("/")[2],
        overview.step,
        _number(settings.get("steps")),
        overview.best_bpb,
        (overview.tokens_per_second or None) if moving else None,
        float(created_at) if isinstance(created_at, int | float) else None,
        overview.guards,
        overview.trend,
        watch.problem,
        "" if watch.run.results == results else str(watch.run.results),
    )


def _number(value: object) -> int | None:
    return value if type(value) is int else None
