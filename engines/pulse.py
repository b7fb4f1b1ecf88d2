"""What beats beside a training: the log's flushes, the heartbeat, and the gauges of the machine."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.errors import LabError
from engines.runs.log import WRITE_INTERVAL, EventLog

HEARTBEAT_INTERVAL = 2.0  # seconds; viewers call a run stuck after 10


class Pulse:
    """A thread beside the training: flushes the log, beats, and reads the machine's gauges."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._rss: list[int] = []
        self._read_gpus: Callable[[], list[dict[str, Any]]] = list

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch_gpus(self) -> None:
        """From the next beat on, tell how the GPUs are doing."""
        from engines.gpus import Gauges  # only runs on a GPU pay for it

        self._read_gpus = Gauges().read

    def take_rss(self) -> list[int]:
        readings, self._rss = self._rss, []
        return readings

    def _beat(self) -> None:
        next_beat = time.monotonic() + HEARTBEAT_INTERVAL
        while not self._over.wait(WRITE_INTERVAL):
            try:
                self._log.flush_if_due()
                if time.monotonic() >= next_beat:
                    next_beat += HEARTBEAT_INTERVAL
                    self._log.emit("heartbeat", step=self._log.step)
                    self._read_gauges()
            except LabError:
                return  # the log is full: the training thread meets the same error

    def _read_gauges(self) -> None:
        import psutil  # 20 ms; runs that are over within a beat never pay

        process = psutil.Process()
        memory = process.memory_info()
        rss = memory.rss - getattr(memory, "shared", 0)  # pages of mapped token files come and go as they please
        self._rss.append(rss)
        self._log.emit(
            "system",
            rss_bytes=rss,
            cpu_percent=psutil.cpu_percent(),
            disk_free_bytes=psutil.disk_usage(str(Path.cwd())).free,
            gpus=self._read_gpus(),
        )
