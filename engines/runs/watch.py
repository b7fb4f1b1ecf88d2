"""A read-only view of one run. Each poll continues where the last one stopped.

Only `poll`, `poll_overview` and `needs_poll` read files: call them from a thread.
"""

import time
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

from engines.errors import UserError
from engines.events import Event
from engines.runs import liveness
from engines.runs.history import History
from engines.runs.overview import Overview, compute_overview, read_stored
from engines.runs.reader import EventReader
from engines.runs.store import Run

_RECENT = 10_000  # steps whose learning rates and gradient norms are kept
_YIELD_EVERY = 8  # lines after which other threads run, so that keys are handled while a long log is read


class WatchedRun:
    """One run, as far as it was read."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history = History(_RECENT)
        self.is_fully_read = False  # whether the history was read; otherwise only the overview is known
        self.state = "starting"
        self.problem = ""  # a sentence if it cannot be read completely
        self.config: dict[str, Any] = {}  # the manifest; empty if it cannot be read, for the reason in `problem`
        self.ending: Event | None = None  # the `ended` event, from the log or from the worker's output
        self.log_tail = b""  # the end of worker.log
        self.is_deleted = False  # the directory was deleted
        self.lock = RLock()  # held by a poll, and by code that reads the history while it must not change
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
        """Resolved settings; empty if the manifest cannot be read."""
        return self.part("resolved")

    def part(self, name: str) -> dict[str, Any]:
        """Return an object of the manifest; an empty one if it is missing or not an object."""
        part = self.config.get(name)
        return part if isinstance(part, dict) else {}

    @property
    def created_at(self) -> float:
        """Unix time; 0 if the manifest cannot be read."""
        created_at = self.config.get("created_at")
        return float(created_at) if isinstance(created_at, int | float) else 0.0

    @property
    def is_live(self) -> bool:
        """True if the worker is running."""
        return self.state in liveness.LIVE_STATES

    @property
    def overview(self) -> Overview:
        """The run's figures, whether its history was read or not."""
        if self.is_fully_read and self._overview_of != (version := self._version()):
            self._overview, self._overview_of = compute_overview(self.history), version
        return self._overview

    def _version(self) -> tuple[object, ...]:
        """Return a value that changes when the figures of the history do."""
        history = self.history
        counts = (history.step, len(history.evals), len(history.guards), len(history.runs), len(history.checkpoints))
        return (id(history), counts, history.losses[-1:].tobytes(), history.ended is None, history.damage)

    def age(self) -> float:
        """Return the seconds since the run was created."""
        return max(0.0, time.time() - (self.created_at or time.time()))

    # --- reading ----------------------------------------------------------------------------------

    def poll(self) -> list[Event]:
        """Read and return new events. State and history are up to date afterwards."""
        found: list[Event] = []
        self._read(lambda: self._poll(found))
        return found

    def poll_overview(self) -> None:
        """Update state and overview with as little reading as possible. Only running runs keep their history."""
        with self.lock:
            if self.is_fully_read:
                self.poll()
                return
            self._read(self._read_stored)
            if self.is_fully_read and not self.is_live:
                self._overview = self.overview
                self.history, self.is_fully_read, self.log_tail = History(_RECENT), False, b""
                self._seen_output = None
                self._clear_reader()

    def needs_poll(self) -> bool:
        """Return whether the log has changed since the last call, or the run is running."""
        seen, self._seen_log = self._seen_log, _get_size_and_time(self.run.events_path)
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
        self._overview, self.state = stored.overview, liveness.get_state_after(str(stored.overview.reason))
        self._read_config(stored.manifest)

    def _poll(self, found: list[Event]) -> None:
        held = liveness.probe_lock(self.run.lock_path)  # before reading, so that no last event is missed
        truncations = self._reader.truncations
        for number, (_, event) in enumerate(self._reader.poll()):
            found.append(event)
            if number % _YIELD_EVERY == 0:
                time.sleep(0)
        if self._reader.truncations > truncations:
            self.history = History(_RECENT)
            self.problem = "events.jsonl was replaced or truncated; it was read again from its beginning."
        self.history.apply(found)
        self.history.count_damage(self._reader)
        self.is_fully_read = True
        derive_state = liveness.derive_live_state if held else liveness.derive_ended_state
        self.state = derive_state(self.run, self.history)
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
        seen, self._seen_output = self._seen_output, _get_size_and_time(self.run.log_path)
        if seen != self._seen_output:
            self.log_tail = liveness.read_log_tail(self.run)
        self.ending = self.history.ended if self.is_live else liveness.find_ending(self.run, self.history)

    def _damage(self) -> str:
        """Return one sentence about what could not be read; empty if everything was."""
        self.is_deleted = not self.run.path.exists()
        if self.is_deleted:
            return "its directory was deleted."
        if self._reader.newer_schema:
            return f"a newer version of nanochat-tui wrote it: {self._reader.newer_schema}."
        return self.history.damage


def _get_size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
