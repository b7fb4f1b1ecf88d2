"""Guards watch a run and say when something is wrong; each is off, or warns, halts or rolls back.

Rules: `nonfinite` (a loss or gradient is no number), `spike` (the loss jumps), `disk` (no room for two
checkpoints), `memory` (the process grows), `throughput` (training slows down).
"""

import math
from collections import deque
from typing import NamedTuple

from engines.settings.train import TrainSettings

# Guesses, meant to be quiet on healthy runs and to notice what a person would notice on the curve.
_SPIKE_MEMORY = 0.98  # weight of the past in the running mean and variance of the loss
_SPIKE_WARMUP = 50  # steps before the running figures mean anything
_SPIKE_LEAST_RISE = 0.1  # as a part of the mean: a smaller jump is noise however calm the curve was
_COOLDOWN = 100  # steps in which a rule that tripped stays silent, so that logs stay short
_MEMORY_SETTLING = (
    5  # readings, 2 s apart, after the start, and after the first evaluation and checkpoint: what they take stays
)
_MEMORY_STARTUP = 150  # readings, five minutes: then growth is measured even if no checkpoint was due yet
_MEMORY_LASTING = 5  # readings that must all be high: a checkpoint on its way to disk is no growth
_MEMORY_LEAST_GROWTH = 64 << 20  # bytes
_THROUGHPUT_READING = 1.0  # seconds of training in one reading
_THROUGHPUT_WINDOW = 60  # readings whose median is the usual speed
_THROUGHPUT_WARMUP = 5  # readings before there is a usual speed


class Trip(NamedTuple):
    """A guard's complaint. `action` is what the settings ask for: warn, halt or rollback."""

    rule: str
    action: str
    value: float
    threshold: float
    hint: str


class Guards:
    """All guards of one run."""

    def __init__(self, settings: TrainSettings) -> None:
        self._actions = {
            "nonfinite": settings.guard_nonfinite,
            "spike": settings.guard_spike,
            "disk": settings.guard_disk,
            "memory": settings.guard_memory,
            "throughput": settings.guard_throughput,
        }
        self._spike = _Spike(settings.guard_spike_sigmas)
        due = {"evaluation": settings.eval_every, "checkpoint": settings.checkpoint_every}
        self._memory = _Memory(
            settings.guard_memory_growth, {work for work, every in due.items() if every or settings.time_budget}
        )
        self._throughput = _Throughput(settings.guard_throughput_drop)
        self._silent_until = dict.fromkeys(self._actions, 0)

    def observe_step(self, step: int, loss: float, grad_norm: float, tokens: int, seconds: float) -> list[Trip]:
        """Look at one finished step of `tokens` tokens."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            bad, name = (grad_norm, "gradient") if math.isfinite(loss) else (loss, "loss")
            hint = f"the {name} was not finite and its update was left out; lower --lr"
            return self._trips(step, "nonfinite", (bad, math.inf, hint))
        return [
            *self._trips(step, "spike", self._spike.observe(loss)),
            *self._trips(step, "throughput", self._throughput.observe(tokens, seconds)),
        ]

    def observe_memory(self, step: int, rss_bytes: int) -> list[Trip]:
        return self._trips(step, "memory", self._memory.observe(rss_bytes))

    def end_startup_of(self, work: str) -> bool:
        """Record that a checkpoint or an evaluation was done; return whether it was the first one awaited."""
        return self._memory.end_startup_of(work)

    def observe_disk(self, step: int, free_bytes: int, checkpoint_bytes: int) -> list[Trip]:
        if free_bytes >= 2 * checkpoint_bytes:
            return []
        hint = "two checkpoints no longer fit on the disk; free some space, then resume"
        return self._trips(step, "disk", (free_bytes, 2 * checkpoint_bytes, hint))

    def asks_for(self, action: str) -> bool:
        """Whether any rule would answer a trip with this action."""
        return action in self._actions.values()

    def state(self) -> dict[str, float]:
        """What a resumed run needs so that its guards judge as before."""
        return {"spike_mean": self._spike.mean, "spike_variance": self._spike.variance, "spike_seen": self._spike.seen}

    def load_state(self, state: dict[str, float]) -> None:
        self._spike.mean, self._spike.variance = state["spike_mean"], state["spike_variance"]
        self._spike.seen = int(state["spike_seen"])
        self._silent_until = dict.fromkeys(self._actions, 0)

    def _trips(self, step: int, rule: str, found: tuple[float, float, str] | None) -> list[Trip]:
        action = self._actions[rule]
        if found is None or action == "off" or (action == "warn" and step < self._silent_until[rule]):
            return []
        self._silent_until[rule] = step + _COOLDOWN
        return [Trip(rule, action, *found)]


class _Spike:
    """Against the running mean and deviation of past losses; a spike moves them no further than its threshold."""

    def __init__(self, sigmas: float) -> None:
        self._sigmas = sigmas
        self.mean = 0.0
        self.variance = 0.0
        self.seen = 0

    def observe(self, loss: float) -> tuple[float, float, str] | None:
        threshold = self.mean + max(self._sigmas * math.sqrt(self.variance), _SPIKE_LEAST_RISE * abs(self.mean))
        spiked = self.seen >= _SPIKE_WARMUP and loss > threshold
        weight = max(1.0 - _SPIKE_MEMORY, 1.0 / (self.seen + 1))
        difference = min(loss, threshold) - self.mean if spiked else loss - self.mean
        self.mean += weight * difference
        self.variance = (1.0 - weight) * (self.variance + weight * difference * difference)
        self.seen += 1
        if not spiked:
            return None
        return loss, threshold, "the loss jumped; if it does not come back, lower --lr or raise --batch-size"


class _Memory:
    """Compares memory with the smallest reading since the end of start-up, when all repeated work was done once."""

    def __init__(self, growth: float, awaited: set[str]) -> None:
        """`awaited`: the kinds of work, besides steps, that allocate lasting memory when first done."""
        self._growth = growth
        self._awaited = awaited
        self._startup = _MEMORY_STARTUP
        self._settle()

    def _settle(self) -> None:
        self._settling = _MEMORY_SETTLING
        self._least: float = math.inf
        self._recent: deque[int] = deque(maxlen=_MEMORY_LASTING)

    def end_startup_of(self, work: str) -> bool:
        if work not in self._awaited:
            return False
        self._awaited.remove(work)
        self._settle()
        return True

    def observe(self, rss_bytes: int) -> tuple[float, float, str] | None:
        self._startup -= 1
        if self._awaited and self._startup >= 0:
            return None
        self._settling -= 1
        if self._settling >= 0:
            return None
        self._least = min(self._least, rss_bytes)
        self._recent.append(rss_bytes)
        lasting = min(self._recent)
        threshold = max(self._growth * self._least, self._least + _MEMORY_LEAST_GROWTH)
        if len(self._recent) < _MEMORY_LASTING or lasting <= threshold:
            return None
        self._settle()  # the next report is of further growth
        return lasting, threshold, "the training process keeps growing; it may run out of memory"


class _Throughput:
    """Against the median of recent readings of tokens a second."""

    def __init__(self, drop: float) -> None:
        self._drop = drop
        self._recent: deque[float] = deque(maxlen=_THROUGHPUT_WINDOW)
        self._tokens = 0
        self._seconds = 0.0

    def observe(self, tokens: int, seconds: float) -> tuple[float, float, str] | None:
        self._tokens += tokens
        self._seconds += seconds
        if self._seconds < _THROUGHPUT_READING:
            return None
        reading = self._tokens / self._seconds
        self._tokens, self._seconds = 0, 0.0
        usual = sorted(self._recent)[len(self._recent) // 2] if len(self._recent) >= _THROUGHPUT_WARMUP else 0.0
        self._recent.append(reading)
        if reading >= self._drop * usual:
            return None
        return reading, self._drop * usual, "training is far slower than it was; is something else using the machine?"
