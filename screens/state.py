"""The state that all screens share: the results directory, the runs, the selected one, and the options."""

import dataclasses
from pathlib import Path
from typing import Protocol

from engines.runs.board import WatchedRuns
from engines.runs.store import Run
from engines.runs.watch import WatchedRun
from engines.settings.user_config import UserConfig


@dataclasses.dataclass
class AppState:
    """The state of the app. `selected` is the run of the train screen, `sample_run` the one to sample from next."""

    results: Path
    readonly: bool = False
    ascii: bool = False
    user_config: UserConfig = UserConfig(Path())  # noqa: RUF009 - it is immutable
    selected: Run | None = None
    sample_run: Run | None = None
    watches: list[WatchedRun] = dataclasses.field(default_factory=list)  # newest first, as of the last refresh
    is_partial: bool = False  # True while more runs are being read

    def __post_init__(self) -> None:
        self.board = WatchedRuns(self.results)

    @property
    def live_watches(self) -> list[WatchedRun]:
        return [watch for watch in self.watches if watch.is_live]

    @property
    def refusal(self) -> str:
        """The reason why nothing may be started, changed or written; empty if that is allowed."""
        return "Read-only mode: the dashboard was started with --readonly." if self.readonly else ""

    @property
    def guard_count(self) -> int:
        """The number of guard alerts of active runs."""
        return sum(len(watch.history.guards) for watch in self.live_watches)


class HasState(Protocol):
    """The part of the app that screens and widgets use."""

    state: AppState
