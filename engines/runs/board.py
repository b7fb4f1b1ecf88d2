"""All runs of a results directory, each as far as it was read. A refresh reads only what has changed."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from engines.runs.lookup import list_folders, list_remembered_dirs
from engines.runs.store import Run
from engines.runs.watch import WatchedRun

_CHECKED = 200  # ended runs that one refresh looks at: of more, a part at a time
_PUBLISH_INTERVAL = 0.25  # seconds between the parts of a first refresh
_FIRST_PART = 40  # runs that are published at once: about as many as a terminal shows
_RACY = 1_000_000_000  # ns: a folder changed so shortly before it was listed may have changed once more since


def _get_change_time(path: Path) -> int:
    """When the log of a run was written to, in ns; 0 if it cannot be read."""
    try:
        return os.stat(f"{path}/events.jsonl").st_mtime_ns
    except OSError:
        return 0


class WatchedRuns:
    """Every run of a results directory. A refresh reads only what has changed."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._watches: dict[Path, WatchedRun] = {}
        self._listed: dict[Path, tuple[int, list[Path]]] = {}  # folders of runs: time of change, and what is in them
        self._shown: list[Path] | None = None  # the runs of the last refresh
        self._in_order: list[WatchedRun] = []
        self._next = 0  # ended run that the next refresh begins with
        self._soon: set[Path] = set()  # runs that the next refresh checks in any case
        self.version = 0  # grows with every refresh that has found something new

    def watch_of(self, run: Run) -> WatchedRun:
        """What has been read of a run already is not read again."""
        return self._watches.setdefault(run.path, WatchedRun(run))

    def request_check(self, run: Run) -> None:
        """Make the next refresh check this run, after a command that changes it."""
        self._soon.add(run.path)

    def refresh(self, publish: Callable[[list[WatchedRun]], None] = lambda _: None) -> list[WatchedRun]:
        """Return all runs, newest first. Reads files, so a screen calls it from a thread.

        A first refresh of many runs takes seconds: `publish` receives what has been read so far.
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
        """Read new runs, the most recently changed first: those are most likely wanted."""
        known = {watch.run.path for watch in self._in_order}
        new = [(_get_change_time(path), path) for path in paths if path not in known]
        read = list(self._in_order)
        parts = 0
        due = time.monotonic() + _PUBLISH_INTERVAL / 2
        for _, path in sorted(new, reverse=True):
            watch = self.watch_of(Run(path))
            watch.needs_poll()
            watch.poll_overview()
            read.append(watch)
            if time.monotonic() > due or len(read) == _FIRST_PART:
                self.version += 1
                publish(_sort_newest_first(read))
                parts += 1  # each costs time, so they become rarer
                due = time.monotonic() + _PUBLISH_INTERVAL * parts
        self._in_order = _sort_newest_first(read)

    def _due(self, soon: set[Path]) -> list[WatchedRun]:
        """Return the running runs, and as many ended ones as a refresh may check, in turn."""
        live: list[WatchedRun] = []
        ended: list[WatchedRun] = []
        for watch in self._in_order:
            (live if watch.is_live or watch.run.path in soon else ended).append(watch)
        begin = self._next if self._next < len(ended) else 0
        self._next = begin + _CHECKED
        return live + ended[begin : begin + _CHECKED]

    def _paths(self) -> list[Path]:
        """Return the runs of the directory; if it has none, those of every remembered one."""
        found = self._list(self._results / "runs")
        return found or [path for root in list_remembered_dirs() for path in self._list(root / "runs")]

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
