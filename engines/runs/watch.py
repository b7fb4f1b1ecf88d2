"""Runs as a viewer sees them: read on from where the last look stopped, and never written to."""

import threading
import time
from pathlib import Path
from typing import Any

from engines.errors import LabError
from engines.events import Event
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.reader import EventReader
from engines.runs.store import Run, runs_in_view

_RECENT = 10_000  # steps whose rates and gradient norms are kept


class Watch:
    """One run, as far as it has been read."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history = History(_RECENT)
        self.state = "starting"
        self.problem = ""  # why it cannot be read, or not wholly, in a sentence
        self.lock = threading.RLock()  # held by a poll, and by whoever wants a history that holds still
        self._reader = EventReader(run.events_path)
        self._config: dict[str, Any] = {}
        self._unreadable = ""  # the problem that the last poll met
        self._seen_log: tuple[int, int] | None = None  # size and time of change of the log that was read

    @property
    def config(self) -> dict[str, Any]:
        """The manifest, or an empty one where `problem` says why. The worker completes it once, when data is read."""
        if "facts" not in self._config:
            try:
                self._config = self.run.config
            except LabError as error:
                self.problem = str(error)
        return self._config

    @property
    def settings(self) -> dict[str, Any]:
        """Resolved settings, empty where the manifest cannot be read."""
        return self.part("resolved")

    def part(self, name: str) -> dict[str, Any]:
        """An object of the manifest; empty where there is none, or something else in its place."""
        part = self.config.get(name)
        return part if isinstance(part, dict) else {}

    @property
    def is_live(self) -> bool:
        return self.state in liveness.LIVE_STATES

    def poll(self) -> list[Event]:
        """Read what is new, and give it back; state and history are up to date after it."""
        with self.lock:
            found: list[Event] = []
            try:
                self._poll(found)
            except OSError as error:  # a network's drive may be away for a while
                name = Path(error.filename or self.run.path).name
                self._unreadable = self.problem = f"{name} cannot be read: {error.strerror}."
                self._seen_log = None
            else:
                if self.problem == self._unreadable:
                    self.problem = ""
            return found

    def _poll(self, found: list[Event]) -> None:
        held = liveness.lock_is_held(self.run.lock_path)  # before reading: its last word is not missed
        truncations = self._reader.truncations
        try:
            for _, event in self._reader.poll():
                found.append(event)
        finally:  # what was read before an error counts
            if self._reader.truncations > truncations:
                self.history = History(_RECENT)
                self.problem = "events.jsonl became shorter: it is read anew from its beginning."
            self.history.apply(found)
            look_up = liveness.live_state if held else liveness.ended_state
            self.state = look_up(self.run, self.history)
        self._note_problems()

    def is_worth_a_poll(self) -> bool:
        """Whether the log has changed since this was last asked, or the run lives."""
        seen, self._seen_log = self._seen_log, _size_and_time(self.run.events_path)
        return self.is_live or seen != self._seen_log

    def age(self) -> float:
        """Seconds since the run was made."""
        return max(0.0, time.time() - float(self.config.get("created_at", time.time())))

    def _note_problems(self) -> None:
        if not self.run.path.exists():
            self.problem = "its directory is gone."
        elif self._reader.newer_schema:
            self.problem = f"it was written by a newer version of nanochat-tui ({self._reader.newer_schema})."
        elif self._reader.malformed > 1:  # a crash leaves one
            self.problem = f"{self._reader.malformed} lines of events.jsonl are no events and were skipped."


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class Board:
    """Every run of a results directory. A refresh reads only what has changed."""

    def __init__(self, results: Any) -> None:
        self._results = results
        self._watches: dict[str, Watch] = {}

    def watch_of(self, run: Run) -> Watch:
        """What has been read of a run already is not read again."""
        return self._watches.setdefault(str(run.path), Watch(run))

    def refresh(self) -> list[Watch]:
        """All runs, newest first; it reads files, so a screen calls it from a thread."""
        watches = [self.watch_of(run) for run in reversed(runs_in_view(self._results))]
        for watch in watches:
            if watch.is_worth_a_poll():
                watch.poll()
        for gone in self._watches.keys() - {str(watch.run.path) for watch in watches}:
            del self._watches[gone]
        return watches
