"""The number of CPU threads that trains fastest, measured with the model's own step. No bit depends on it.

All cores are fastest on an idle machine. On a busy one threads wait for each other, and fewer are faster.
"""

import time
from collections import deque
from collections.abc import Callable
from statistics import median

import torch

from engines.interfaces import Decision

_MEASURING_SECONDS = 0.15
_MAX_ROUNDS = 5
_SLOWDOWN = 1.5  # of the median of recent steps against the fastest, after which is measured again
_RECENT_STEPS = 20
_MIN_INTERVAL = 30.0  # seconds between two measurements


class ThreadTuner:
    """Chooses torch's number of threads at the start, and again when steps become slower."""

    def __init__(
        self,
        run_step: Callable[[], object],
        max_threads: int,
        set_threads: Callable[[int], None] = torch.set_num_threads,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`run_step` takes a training step without its update, or a part of one."""
        self._run_step = run_step
        self._candidates = [*_powers_of_two(max_threads), max_threads]
        self._set_threads = set_threads
        self._clock = clock
        self._threads = max_threads
        self._seconds: dict[int, float] = {}
        self._recent: deque[float] = deque(maxlen=_RECENT_STEPS)
        self._fastest = float("inf")
        self._measured_at = 0.0

    @property
    def decision(self) -> Decision:
        times = ", ".join(f"{1000 * self._seconds[n]:.3g} ms with {n}" for n in self._candidates)
        return Decision("threads", str(self._threads), f"measured: a step takes {times}")

    def measure(self) -> None:
        """Time steps with each number of threads, and use the fastest."""
        started = self._clock()
        self._seconds = dict.fromkeys(self._candidates, float("inf"))
        for _ in range(_MAX_ROUNDS):
            for threads in self._candidates:
                self._set_threads(threads)
                self._seconds[threads] = min(self._seconds[threads], self._time_step())
            if self._clock() - started > _MEASURING_SECONDS:
                break
        self._threads = min(self._candidates, key=self._seconds.__getitem__)
        self._set_threads(self._threads)
        self._recent.clear()
        self._fastest = float("inf")
        self._measured_at = self._clock()

    def record_step(self, seconds: float) -> None:
        """Measure again if recent steps are slower than they were, or if cores that were busy may be free again."""
        self._recent.append(seconds)
        self._fastest = min(self._fastest, seconds)
        is_full = len(self._recent) == _RECENT_STEPS
        if not is_full or self._clock() - self._measured_at < _MIN_INTERVAL:
            return
        if self._threads < self._candidates[-1] or median(self._recent) > _SLOWDOWN * self._fastest:
            self.measure()

    def _time_step(self) -> float:
        started = self._clock()
        self._run_step()
        return self._clock() - started


def _powers_of_two(end: int) -> list[int]:
    return [2**n for n in range(end.bit_length()) if 2**n < end]
