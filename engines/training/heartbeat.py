"""The background thread of a worker: it flushes the log, records heartbeats, and reads system metrics."""

import shutil
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from engines.errors import UserError
from engines.runs.log import WRITE_INTERVAL, EventLog

T = TypeVar("T")
HEARTBEAT_INTERVAL = 2.0  # seconds; a run without a heartbeat for 10 s is shown as stuck


class Heartbeat:
    """A thread that flushes the log and records the events `heartbeat` and `system` every two seconds."""

    def __init__(self, log: EventLog, log_failed: Callable[[], None] = lambda: None) -> None:
        """`log_failed` is called from the thread when the log can no longer be written."""
        self._log = log
        self._log_failed = log_failed
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._rss: list[int] = []  # readings in bytes, not yet drained
        self._read_gpus: Callable[[], list[dict[str, Any]]] = list

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def report_gpus(self) -> None:
        """Read the metrics of the GPUs with every heartbeat from now on."""
        from engines.system.gpus import GpuMonitor  # only runs on a GPU need it

        self._read_gpus = GpuMonitor().read

    def drain_rss_readings(self) -> list[int]:
        """Return the bytes of memory of this process, one reading per heartbeat since the last call."""
        readings, self._rss = self._rss, []
        return readings

    def _run(self) -> None:
        next_beat = time.monotonic() + HEARTBEAT_INTERVAL
        try:
            while not self._stopped.wait(WRITE_INTERVAL):
                self._log.flush_if_due()
                if time.monotonic() >= next_beat:
                    next_beat += HEARTBEAT_INTERVAL
                    self._log.require_file()
                    self._log.emit("heartbeat", step=self._log.step)
                    self._log.emit("system", **self._read_metrics())
        except UserError:  # the training thread gets the same error at its next write
            self._log_failed()

    def _read_metrics(self) -> dict[str, Any]:
        """Return the fields of the event `system`. A metric that cannot be read is null; for GPUs, an empty list."""
        rss = _read(_resident_bytes)
        if rss is not None:
            self._rss.append(rss)
        return {
            "rss_bytes": rss,
            "cpu_percent": _read(_cpu_percent),
            "disk_free_bytes": _read(lambda: shutil.disk_usage(self._log.path.parent).free),
            "gpus": _read(self._read_gpus) or [],
        }


def _read(metric: Callable[[], T]) -> T | None:
    """Return the metric, or None if reading fails in any way: a failure must not end the heartbeat."""
    try:
        return metric()
    except Exception:
        return None


def _resident_bytes() -> int:
    import psutil  # takes 20 ms, which runs that end before the first heartbeat save

    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))  # without pages of mapped files, which vary


def _cpu_percent() -> float:
    import psutil

    return float(psutil.cpu_percent())
