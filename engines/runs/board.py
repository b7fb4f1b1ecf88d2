"""All runs of a results directory, each as far as it was read. A refresh reads only what has changed."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from engines.runs.lookup import list_folders, list_used_results_dirs
from engines.runs.store import Run
from engines.runs.watch import WatchedRun

MAX_CHECKED = 200  # ended runs that one refresh checks, in turn
PUBLISH_INTERVAL = 0.25  # seconds between the parts of a first refresh
_FIRST_PART = 40  # runs that are published at once: about as many as a terminal shows
_RACY = 1_000_000_000  # ns: a folder that changed so recently when it was listed may change again unnoticed


def _get_change_time(path: Path) -> int:
    """Return when the log of a run was last written, in ns; 0 if it cannot be read."""
    try:
        return os.stat(f"{path}/events.jsonl").st_mtime_ns
    except OSError:
        return 0


class WatchedRuns:
    """Every run of a results directory. A refresh reads only what has changed."""

    def __init__(
        self, results: Path, max_checked: int = MAX_CHECKED, publish_interval: float = PUBLISH_INTERVAL
    ) -> None:
        self._max_checked = max_checked
        self._publish_interval = publish_interval
        self._results = results
        self._watches: dict[Path, WatchedRun] = {}
        self._listed: dict[Path, tuple[int, list[Path]]] = {}  # folders of runs: time of change, and their content
        self._shown: list[Path] | None = None  # the runs of the last refresh
        self._in_order: list[WatchedRun] = []  # newest first
        self._next = 0  # index of the ended run that the next refresh starts with
        self._soon: set[Path] = set()  # runs that the next refresh checks in any case
        self.version = 0  # grows with every refresh that has found something new

    def watch_of(self, run: Run) -> WatchedRun:
        """Return the view of a run, which keeps everything that was read of it."""
        return self._watches.setdefault(run.path, WatchedRun(run))

    def request_check(self, run: Run) -> None:
        """Make the next refresh check this run, after a command that changes it."""
        self._soon.add(run.path)

    def refresh(self, publish: Callable[[list[WatchedRun]], None] = lambda _: None) -> list[WatchedRun]:
        """Return all runs, newest first. Reads files: call it from a thread.

        A first refresh of many runs takes seconds: `publish` is called with the runs that were read so far.
        """
        paths = self._paths()
        if is_other := paths is not self._shown:
            self._shown = paths
            listed = set(paths)
            self._watches = {path: watch for path, watch in self._watches.items() if path in listed}
            self._in_order = [watch for watch in self._in_order if watch.run.path in listed]
        soon, self._soon = self._soon, set()
        changed = [watch for watch in self._due(soon) if watch.needs_poll() or watch.run.path in soon]
        for watch in changed:
            watch.poll_overview()
        if is_other:
            self._read_new(paths, publish)
        self.version += bool(is_other or changed)
        return self._in_order

    def _read_new(self, paths: list[Path], publish: Callable[[list[WatchedRun]], None]) -> None:
        """Read new runs, the most recently changed first: the user most likely needs those."""
        known = {watch.run.path for watch in self._in_order}
        new = [(_get_change_time(path), path) for path in paths if path not in known]
        read = list(self._in_order)
        parts = 0
        due = time.monotonic() + self._publish_interval / 2
        for _, path in sorted(new, reverse=True):
            watch = self.watch_of(Run(path))
            watch.needs_poll()
            watch.poll_overview()
            read.append(watch)
            if time.monotonic() > due or len(read) == _FIRST_PART:
                self.version += 1
                publish(_sort_newest_first(read))
                parts += 1  # each takes time, so they become less frequent
                due = time.monotonic() + self._publish_interval * parts
        self._in_order = _sort_newest_first(read)

    def _due(self, soon: set[Path]) -> list[WatchedRun]:
        """Return the running runs, and as many ended ones as a refresh may check, in turn."""
        live: list[WatchedRun] = []
        ended: list[WatchedRun] = []
        for watch in self._in_order:
            (live if watch.is_live or watch.run.path in soon else ended).append(watch)
        begin = self._next if self._next < len(ended) else 0
        self._next = begin + self._max_checked
        return live + ended[begin : begin + self._max_checked]

    def _paths(self) -> list[Path]:
        """Return the runs of the directory; if it has none, those of every remembered one."""
        found = self._list(self._results / "runs")
        return found or [path for root in list_used_results_dirs() for path in self._list(root / "runs")]

    def _list(self, folder: Path) -> list[Path]:
        """List a folder, unless it has not changed since the last time."""
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            changed = 0
        known = self._listed.get(folder)
        if known is None or not changed or known[0] != changed:
            is_racy = time.time_ns() - changed < _RACY
            found = list_folders(folder)
            paths = known[1] if known and known[1] == found else found
            self._listed[folder] = known = (0 if is_racy else changed, paths)
        return known[1]


def _sort_newest_first(watches: Iterable[WatchedRun]) -> list[WatchedRun]:
    return sorted(watches, key=lambda watch: (watch.created_at, watch.run.id), reverse=True)
