"""What all screens share: where runs are, which one is looked at, and what may be done."""

import dataclasses
from pathlib import Path

from engines.runs.board import WatchedRuns
from engines.runs.store import Run
from engines.runs.watch import WatchedRun


@dataclasses.dataclass
class Lab:
    """`selected`: the run that the train screen shows; `to_hear`: the one that somebody asked the sample screen for."""

    results: Path
    readonly: bool = False
    ascii: bool = False
    selected: Run | None = None
    to_hear: Run | None = None
    watches: list[WatchedRun] = dataclasses.field(default_factory=list)  # newest first, as of the last refresh
    is_partial: bool = False  # whether more runs are being read than these

    def __post_init__(self) -> None:
        self.board = WatchedRuns(self.results)

    @property
    def live(self) -> list[WatchedRun]:
        return [watch for watch in self.watches if watch.is_live]

    @property
    def refusal(self) -> str:
        """The reason why nothing may be started, changed or written; empty if it may."""
        return "read-only mode: the dashboard was opened with --readonly." if self.readonly else ""

    @property
    def guard_count(self) -> int:
        """Trips of live runs."""
        return sum(len(watch.history.guards) for watch in self.live)
