"""Read-only views of runs: each poll continues reading where the last one stopped.

Only `poll`, `glance`, `is_worth_a_poll` and `refresh` read files, so a viewer calls them from a thread.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import RLock
from typing import Any

from engines.errors import UserError
from engines.events import Event
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.overview import Overview, overview_of, read_stored
from engines.runs.reader import EventReader
from engines.runs.store import Run, folders_in, remembered

_RECENT = 10_000  # steps whose rates and gradient norms are kept
_YIELD_EVERY = 8  # lines after which other threads may run: keys are handled while a long log is read
_CHECKED = 200  # ended runs that one refresh looks at: of more, a part at a time
_PUBLISH_INTERVAL = 0.25  # seconds between the parts of a first refresh
_FIRST_PART = 40  # runs that are published at once: about as many as a terminal shows
_RACY = 1_000_000_000  # ns: a folder changed so shortly before it was listed may have changed once more since


class Watch:
    """One run, as far as it has been read."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history = History(_RECENT)
        self.is_whole = False  # whether the history has been read; if not, only the overview is known
        self.state = "starting"
        self.problem = ""  # why it cannot be read, or not wholly, in a sentence
        self.config: dict[str, Any] = {}  # the manifest; empty where it cannot be read, and `problem` says why
        self.ending: Event | None = None  # the `ended` event, from the log or from the worker's output
        self.log_tail = b""  # the end of what the worker printed
        self.is_gone = False  # the directory was deleted
        self.lock = RLock()  # held by a poll, and by readers of a history that must not change
        self._overview = Overview()
        self._overview_of: tuple[object, ...] = ()  # version of the history that the overview was computed from
        self._clear_reader()
        self._log_problem = ""  # why the last poll failed
        self._seen_log: tuple[int, int] | None = None  # size and time of change of the log that was read
        self._seen_output: tuple[int, int] | None = None  # the same of worker.log

    def _clear_reader(self) -> None:
        self._reader = EventReader(self.run.events_path)

    @property
    def settings(self) -> dict[str, Any]:
        """Resolved settings, empty where the manifest cannot be read."""
        return self.part("resolved")

    def part(self, name: str) -> dict[str, Any]:
        """An object of the manifest; empty where there is none, or something else in its place."""
        part = self.config.get(name)
        return part if isinstance(part, dict) else {}

    @property
    def created_at(self) -> float:
        """Unix time; 0 if the manifest cannot be read."""
        created_at = self.config.get("created_at")
        return float(created_at) if isinstance(created_at, int | float) else 0.0

    @property
    def is_live(self) -> bool:
        return self.state in liveness.LIVE_STATES

    @property
    def overview(self) -> Overview:
        """The run's figures, whether its history has been read or not."""
        if self.is_whole and self._overview_of != (version := self._version()):
            self._overview, self._overview_of = overview_of(self.history), version
        return self._overview

    def _version(self) -> tuple[object, ...]:
        """A value that changes when the figures of the history do."""
        history = self.history
        counts = (history.step, len(history.evals), len(history.guards), len(history.runs), len(history.checkpoints))
        return (id(history), counts, history.losses[-1:].tobytes(), history.ended is None, history.damage)

    def age(self) -> float:
        """Seconds since the run was created."""
        return max(0.0, time.time() - (self.created_at or time.time()))

    # --- reading ----------------------------------------------------------------------------------

    def poll(self) -> list[Event]:
        """Read what is new, and give it back; state and history are up to date after it."""
        found: list[Event] = []
        self._read(lambda: self._poll(found))
        return found

    def glance(self) -> None:
        """Bring state and overview up to date and read as little as possible: the history is kept only of live runs."""
        with self.lock:
            if self.is_whole:
                self.poll()
                return
            self._read(self._read_stored)
            if self.is_whole and not self.is_live:
                self._overview = self.overview
                self.history, self.is_whole, self.log_tail = History(_RECENT), False, b""
                self._seen_output = None
                self._clear_reader()

    def is_worth_a_poll(self) -> bool:
        """Return whether the log has changed since the last call, or the run is running."""
        seen, self._seen_log = self._seen_log, _size_and_time(self.run.events_path)
        return self.is_live or seen != self._seen_log

    def _read(self, read: Callable[[], None]) -> None:
        with self.lock:
            try:
                read()
                problem = self._damage()
            except OSError as error:  # a network drive may be unavailable for a while
                problem = f"{Path(error.filename or self.run.path).name} cannot be read: {error.strerror}."
                self._seen_log = None
            if self._reader.problem:
                self._seen_log = None  # it may be readable at the next poll
            if problem or self.problem == self._log_problem:
                self.problem = problem
            self._log_problem = problem

    def _read_stored(self) -> None:
        """Use the overview that the worker stored, or read the whole log if none matches it."""
        held = liveness.probe_lock(self.run.lock_path)
        stored = None if held else read_stored(self.run)
        if stored is None:
            self._poll([])
            return
        self._overview, self.state = stored.overview, liveness.state_after(str(stored.overview.reason))
        self._read_config(stored.manifest)

    def _poll(self, found: list[Event]) -> None:
        held = liveness.probe_lock(self.run.lock_path)  # before reading: a last event is not missed
        truncations = self._reader.truncations
        for number, (_, event) in enumerate(self._reader.poll()):
            found.append(event)
            if number % _YIELD_EVERY == 0:
                time.sleep(0)
        if self._reader.truncations > truncations:
            self.history = History(_RECENT)
            self.problem = "events.jsonl was replaced or became shorter: it is read again from its beginning."
        self.history.apply(found)
        self.history.count_damage(self._reader)
        self.is_whole = True
        look_up = liveness.live_state if held else liveness.ended_state
        self.state = look_up(self.run, self.history)
        self._read_config()
        self._read_output()

    def _read_config(self, verified: int | None = None) -> None:
        """Read the manifest, which the worker completes once, when it has read its data. See `Run.read_config`."""
        if "facts" not in self.config:
            try:
                self.config = self.run.read_config(verified)
            except UserError as error:
                self.problem = str(error)

    def _read_output(self) -> None:
        seen, self._seen_output = self._seen_output, _size_and_time(self.run.log_path)
        if seen != self._seen_output:
            self.log_tail = liveness.worker_log_tail(self.run)
        self.ending = self.history.ended if self.is_live else liveness.ending(self.run, self.history)

    def _damage(self) -> str:
        """Return one sentence about what could not be read; empty if everything was."""
        self.is_gone = not self.run.path.exists()
        if self.is_gone:
            return "its directory is gone."
        if self._reader.newer_schema:
            return f"it was written by a newer version of nanochat-tui ({self._reader.newer_schema})."
        return self.history.damage


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _changed_at(path: Path) -> int:
    """When the log of a run was written to, in ns; 0 if it cannot be read."""
    try:
        return os.stat(f"{path}/events.jsonl").st_mtime_ns
    except OSError:
        return 0


class Board:
    """Every run of a results directory. A refresh reads only what has changed."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._watches: dict[Path, Watch] = {}
        self._listed: dict[Path, tuple[int, list[Path]]] = {}  # folders of runs: time of change, and what is in them
        self._shown: list[Path] | None = None  # the runs of the last refresh
        self._in_order: list[Watch] = []
        self._next = 0  # ended run that the next refresh begins with
        self._soon: set[Path] = set()  # runs that the next refresh checks in any case
        self.version = 0  # grows with every refresh that has found something new

    def watch_of(self, run: Run) -> Watch:
        """What has been read of a run already is not read again."""
        return self._watches.setdefault(run.path, Watch(run))

    def check_soon(self, run: Run) -> None:
        """Make the next refresh check this run, after a command that changes it."""
        self._soon.add(run.path)

    def refresh(self, publish: Callable[[list[Watch]], None] = lambda _: None) -> list[Watch]:
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
        changed = [watch for watch in self._due(soon) if watch.is_worth_a_poll() or watch.run.path in soon]
        for watch in changed:
            watch.glance()
        if is_other:
            self._read_new(paths, publish)
        self.version += bool(is_other or changed)
        return self._in_order

    def _read_new(self, paths: list[Path], publish: Callable[[list[Watch]], None]) -> None:
        """Read new runs, the most recently changed first: those are most likely wanted."""
        known = {watch.run.path for watch in self._in_order}
        new = [(_changed_at(path), path) for path in paths if path not in known]
        read = list(self._in_order)
        parts = 0
        due = time.monotonic() + _PUBLISH_INTERVAL / 2
        for _, path in sorted(new, reverse=True):
            watch = self.watch_of(Run(path))
            watch.is_worth_a_poll()
            watch.glance()
            read.append(watch)
            if time.monotonic() > due or len(read) == _FIRST_PART:
                self.version += 1
                publish(_newest_first(read))
                parts += 1  # each costs time, so they become rarer
                due = time.monotonic() + _PUBLISH_INTERVAL * parts
        self._in_order = _newest_first(read)

    def _due(self, soon: set[Path]) -> list[Watch]:
        """Return the running runs, and as many ended ones as a refresh may check, in turn."""
        live: list[Watch] = []
        ended: list[Watch] = []
        for watch in self._in_order:
            (live if watch.is_live or watch.run.path in soon else ended).append(watch)
        begin = self._next if self._next < len(ended) else 0
        self._next = begin + _CHECKED
        return live + ended[begin : begin + _CHECKED]

    def _paths(self) -> list[Path]:
        """Return the runs of the directory; if it has none, those of every remembered one."""
        found = self._list(self._results / "runs")
        return found or [path for root in remembered() for path in self._list(root / "runs")]

    def _list(self, folder: Path) -> list[Path]:
        """List a folder, unless it has not changed since the last time."""
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            changed = 0
        known = self._listed.get(folder)
        if known is None or not changed or known[0] != changed:
            is_racy = time.time_ns() - changed < _RACY
            found = folders_in(folder)
            paths = known[1] if known and known[1] == found else found
            self._listed[folder] = known = (0 if is_racy else changed, paths)
        return known[1]


def _newest_first(watches: Iterable[Watch]) -> list[Watch]:
    return sorted(watches, key=lambda watch: (watch.created_at, watch.run.id), reverse=True)
