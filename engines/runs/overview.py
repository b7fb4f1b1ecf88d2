"""The figures of a run for lists of runs, stored in `summary.json` so that a list need not read whole logs.

The worker stores the figures when the run has ended, together with the size and the end of its event log. They are used
only while both are unchanged and the checksum matches; otherwise the log is read.
"""

import contextlib
import dataclasses
import json
import os
import zlib
from array import array
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import UserError
from engines.files import open_regular, read_regular
from engines.runs import liveness
from engines.runs.checked_json import parse_json
from engines.runs.history import History
from engines.runs.reader import EventReader
from engines.runs.snapshot import read_snapshot
from engines.runs.store import Run

TREND = 12  # parts of a run with one mean loss each
KEY = "overview"  # in summary.json
_RECENT = 100  # steps whose rates and gradient norms are kept while the log is read
_TAIL = 1024  # bytes at the end of the log that are compared
_MAX_LOG_BYTES = 256 << 20  # a longer log is not read again when its run ends; a list reads it


@dataclasses.dataclass(frozen=True)
class Overview:
    """Figures of a run that has ended, or of a running one so far."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of training; NaN where steps could not be read
    elapsed: float = 0.0  # seconds from the first start to the last event
    tokens_per_second: float = 0.0  # of the newest steps
    loss: float | None = None  # of the last step
    bpb: float | None = None  # bits per byte of the last evaluation
    best_bpb: float | None = None
    best_step: int | None = None
    guards: tuple[tuple[str, int], ...] = ()  # action and number of alerts, in order of first appearance
    checkpoints: tuple[tuple[int, float | None], ...] = ()  # recorded steps that were not removed, and their bpb
    trend: tuple[float, ...] = ()  # mean losses of equal parts
    reason: str | None = None  # of the `ended` event
    damage: str = ""  # a sentence about what could not be read of the log

    @property
    def guard_count(self) -> int:
        """Number of guard alerts."""
        return sum(count for _, count in self.guards)


def compute_overview(history: History) -> Overview:
    """Return the figures of a history that was read from its log."""
    best = history.best_eval
    return Overview(
        step=history.step,
        tokens=history.tokens,
        seconds=history.train_seconds,
        elapsed=history.last_t,
        tokens_per_second=history.tokens_per_second(),
        loss=history.last_loss,
        bpb=history.evals[-1]["bpb"] if history.evals else None,
        best_bpb=best["bpb"] if best else None,
        best_step=best["step"] if best else None,
        guards=tuple(Counter(event["action"] for event in list(history.guards)).items()),
        checkpoints=_list_checkpoints(history),
        trend=_compute_trend(history),
        reason=history.ended["reason"] if history.ended else None,
        damage=history.damage,
    )


def _list_checkpoints(history: History) -> tuple[tuple[int, float | None], ...]:
    bpb = {event["step"]: event["bpb"] for event in list(history.evals)}
    steps: dict[int, None] = {}
    for event in list(history.checkpoints):
        steps[event["step"]] = None
        for removed in event["removed"]:
            steps.pop(removed, None)
    return tuple((step, bpb.get(step)) for step in steps)


def _compute_trend(history: History) -> tuple[float, ...]:
    """Return mean losses: non-finite for a part with a non-finite loss; losses that could not be read are left out."""
    losses = history.losses
    if history.missing:
        losses = array("d", [losses[step - 1] for part in history.iter_readable() for step in part])
    count = len(losses)
    parts = min(TREND, count)
    bounds = [count * i // parts for i in range(parts + 1)] if parts else []
    return tuple(sum(losses[a:b]) / (b - a) for a, b in pairwise(bounds))


# --- in summary.json ------------------------------------------------------------------------------------


class LogDigest:
    """Reads a run's own log for the overview: most of it before the `ended` event, so that the worker exits soon."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._log = run.events_path
        self._reader = EventReader(run.events_path)
        self._history = History(_RECENT)
        self.read()

    def read(self) -> None:
        """Read what was written since the last call. A very long or unreadable log gives no overview."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size <= _MAX_LOG_BYTES:
                for _ in self._history.read(self._reader):
                    pass

    def store_in(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Return the summary with the figures and with what identifies the log that they were computed from.

        A log with damaged lines gets no overview: a list of runs reads the log and reports the damage.
        """
        self.read()
        history = self._history
        if history.ended is None or history.damage:
            return dict(summary)
        size, tail = _read_end(self._log)
        figures = _encode(dataclasses.asdict(compute_overview(history)))
        content = {"figures": figures, "log_bytes": size, "log_end": zlib.crc32(tail), "manifest": self._manifest_crc()}
        return {**summary, KEY: {**content, "checksum": _compute_checksum(content)}}

    def _manifest_crc(self) -> int | None:
        """Return the CRC-32 of the manifest, so that lists need not verify it again; None if it is damaged."""
        try:
            encoded = read_regular(self._run.config_path)
            self._run.read_config()
        except (OSError, UserError):
            return None
        return zlib.crc32(encoded)


class StoredOverview(NamedTuple):
    """The part of `summary.json` that lists of runs use."""

    overview: Overview
    manifest: int | None  # CRC-32 of the manifest, whose checksum matched when the run ended


def read_overview(run: Run) -> Overview | None:
    """Return the stored figures of an ended run; None if there are none, or if they do not match the log."""
    stored = read_stored(run)
    return stored.overview if stored else None


def read_stored(run: Run) -> StoredOverview | None:
    """Return the stored figures as `read_overview` does, with the CRC-32 of the manifest."""
    try:
        encoded = read_regular(run.summary_path)
        stored = parse_json(encoded)[KEY]
        checksum = stored.pop("checksum")
        size, tail = _read_end(run.events_path)
        if liveness.is_newer(run.log_path, run.events_path) and liveness.find_printed_ending(run):
            return None  # the log lacks how the run ended
        if checksum != _compute_checksum(stored) or (size, zlib.crc32(tail)) != (
            stored["log_bytes"],
            stored["log_end"],
        ):
            return None
        figures = _decode(stored["figures"]) if b'"nonfinite"' in encoded else stored["figures"]
        for name in ("guards", "checkpoints"):
            figures[name] = tuple((key, value) for key, value in figures[name])
        return StoredOverview(Overview(**{**figures, "trend": tuple(figures["trend"])}), stored.get("manifest"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_entry(run: Run) -> tuple[dict[str, Any], str, Overview]:
    """Return manifest, state and figures of a run; UserError if the manifest cannot be read.

    The log of an ended run is read only if the stored figures do not match it.
    """
    stored = None if liveness.is_lock_held(run.lock_path) else read_stored(run)
    if stored is not None:
        overview = stored.overview
        return run.read_config(stored.manifest), liveness.get_state_after(str(overview.reason)), overview
    config = run.config
    found = read_snapshot(run)
    return config, found.state, compute_overview(found.history)


def _read_end(log: Path) -> tuple[int, bytes]:
    with open_regular(log) as file:
        size = os.fstat(file.fileno()).st_size
        return size, os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))


def _compute_checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _encode(value: Any) -> Any:
    """Encode a value for JSON, which has no NaN: a number that is not finite becomes its name."""
    if isinstance(value, dict):
        return {name: _encode(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(part) for part in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return {"nonfinite": str(value)}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["nonfinite"]) if value.keys() == {"nonfinite"} else {k: _decode(v) for k, v in value.items()}
    return [_decode(part) for part in value] if isinstance(value, list) else value
