"""The rows of the table, built in a thread."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from screens.shared.table import TableCell


@dataclasses.dataclass(frozen=True, eq=False)
class RunRow:
    """The values of one run in the table; None if unknown."""

    watch: WatchedRun
    state: str
    is_live: bool
    engine: str
    kind: str
    corpus: str
    step: int
    steps: int | None
    best_bpb: float | None
    tokens_per_second: float | None
    created_at: float | None
    guards: tuple[tuple[str, int], ...]  # action and count
    trend: tuple[float, ...]  # mean losses of equal parts of the run
    problem: str
    elsewhere: str  # its results directory, if it is not the one that was opened
    cells: dict[str, TableCell] = dataclasses.field(default_factory=dict)  # by column, formatted on first use

    @property
    def run(self) -> Run:
        return self.watch.run

    @property
    def key(self) -> str:
        return str(self.run.path)

    @property
    def guard_count(self) -> int:
        return sum(count for _, count in self.guards)

    def matches(self, words: Iterable[str]) -> bool:
        """Return whether every word is part of its id, state, engine, kind or corpus."""
        text = f"{self.run.id} {self.state} {self.engine} {self.kind} {self.corpus}".lower()
        return all(word.lower() in text for word in words)


class RowReader:
    """Builds the rows of watched runs. A run that has not changed keeps its row object."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[tuple[Any, ...], RunRow]] = {}

    def read(self, watches: Iterable[WatchedRun], results: Path) -> list[RunRow]:
        """Return the rows of all runs; `results` is the results directory that was opened."""
        known, self._rows = self._rows, {}
        for watch in watches:
            version = _version_of(watch)
            key = str(watch.run.path)
            found = known.get(key)
            self._rows[key] = found if found and found[0] == version else (version, _build_row(watch, results))
        return [row for _, row in self._rows.values()]


def _version_of(watch: WatchedRun) -> tuple[Any, ...]:
    """Return a value that changes whenever the row does."""
    return (id(watch), watch.overview, watch.state, watch.problem, "facts" in watch.config)


def _build_row(watch: WatchedRun, results: Path) -> RunRow:
    """Build a row; values that are missing in a foreign or damaged manifest are unknown."""
    overview = watch.overview
    settings = watch.part("resolved")
    created_at = watch.config.get("created_at")
    has_rate = watch.state == "running" or not watch.is_live
    return RunRow(
        watch,
        watch.state,
        watch.is_live,
        str(settings.get("mode", "?")),
        str(settings.get("model_kind", "?")),
        str(settings.get("data", "?")).rstrip("/").rpartition("/")[2],
        overview.step,
        _as_int(settings.get("steps")),
        overview.best_bpb,
        (overview.tokens_per_second or None) if has_rate else None,
        float(created_at) if isinstance(created_at, int | float) else None,
        overview.guards,
        overview.trend,
        watch.problem,
        "" if watch.run.results == results else str(watch.run.results),
    )


def _as_int(value: object) -> int | None:
    return value if type(value) is int else None
