"""Guards watch a run and report what is wrong with it; each is off, or warns, halts the run, or rolls it back.

Rules: `nonfinite` (a loss or gradient is NaN or infinite), `spike` (the loss jumps), `disk` (no space for two
checkpoints), `memory` (the process grows), `throughput` (training slows down).
"""

import math
from collections import deque
from typing import NamedTuple

from engines.settings.train import TrainSettings

# Guesses: no alert on healthy runs, and an alert for what a person would notice on the curve.
_SPIKE_DECAY = 0.98  # of the exponential moving mean and variance of the loss
_SPIKE_WARMUP = 50  # steps before mean and variance are meaningful
_SPIKE_MIN_RISE = 0.1  # relative to the mean: a smaller jump is noise, however smooth the curve was
_COOLDOWN = 100  # steps without a further alert of the same rule, so that logs stay short
_MEMORY_SETTLING = 5  # readings, 2 s apart, to ignore after the start, the first evaluation and the first checkpoint
_MEMORY_STARTUP = 150  # readings, five minutes: then growth is measured even if no checkpoint was due yet
_MEMORY_WINDOW = 5  # readings that must all be high: memory of a checkpoint that is being written is not growth
_MEMORY_MIN_GROWTH = 64 << 20  # bytes
_THROUGHPUT_READING = 1.0  # seconds of training in one reading
_THROUGHPUT_WINDOW = 60  # readings whose median is the usual speed
_THROUGHPUT_WARMUP = 5  # readings before there is a usual speed


class GuardAlert(NamedTuple):
    """A violated rule. `action`: that of the settings, warn, halt or rollback."""

    rule: str
    action: str
    value: float
    threshold: float
    hint: str


class Violation(NamedTuple):
    """A value beyond its threshold, and advice for the user."""

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
        self._spike = SpikeDetector(settings.guard_spike_sigmas)
        intervals = {"evaluation": settings.eval_every, "checkpoint": settings.checkpoint_every}
        awaited = {work for work, every in intervals.items() if every or settings.time_budget}
        self._memory = MemoryGrowthDetector(settings.guard_memory_growth, awaited)
        self._throughput = ThroughputDetector(settings.guard_throughput_drop)
        self._silent_until = dict.fromkeys(self._actions, 0)

    def observe_step(self, step: int, loss: float, grad_norm: float, tokens: int, seconds: float) -> list[GuardAlert]:
        """Check a finished step of `tokens` tokens that took `seconds`."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            value, name = (grad_norm, "gradient") if math.isfinite(loss) else (loss, "loss")
            hint = f"the {name} was not finite and its update was skipped; lower --lr"
            return self._alert(step, "nonfinite", Violation(value, math.inf, hint))
        return [
            *self._alert(step, "spike", self._spike.observe(loss)),
            *self._alert(step, "throughput", self._throughput.observe(tokens, seconds)),
        ]

    def observe_memory(self, step: int, rss_bytes: int) -> list[GuardAlert]:
        """Check one reading of the memory of the process."""
        return self._alert(step, "memory", self._memory.observe(rss_bytes))

    def observe_disk(self, step: int, free_bytes: int, checkpoint_bytes: int) -> list[GuardAlert]:
        """Check the free space on the disk before a checkpoint is written."""
        if free_bytes >= 2 * checkpoint_bytes:
            return []
        hint = "the disk has no space for two checkpoints; free some space, then resume"
        return self._alert(step, "disk", Violation(free_bytes, 2 * checkpoint_bytes, hint))

    def end_startup_of(self, work: str) -> bool:
        """Record that a checkpoint or an evaluation was done; return whether it was the first of its kind."""
        return self._memory.end_startup_of(work)

    def has_action(self, action: str) -> bool:
        """Return whether any rule has this action."""
        return action in self._actions.values()

    def state(self) -> dict[str, float]:
        """Return what a resumed run needs for the same alerts."""
        return {"spike_mean": self._spike.mean, "spike_variance": self._spike.variance, "spike_seen": self._spike.seen}

    def load_state(self, state: dict[str, float]) -> None:
        """Restore what `state` returned, and end every cooldown."""
        self._spike.mean, self._spike.variance = state["spike_mean"], state["spike_variance"]
        self._spike.seen = int(state["spike_seen"])
        self._silent_until = dict.fromkeys(self._actions, 0)

    def _alert(self, step: int, rule: str, violation: Violation | None) -> list[GuardAlert]:
        """Return the alert for a violation, unless the rule is off, or warned during its cooldown."""
        action = self._actions[rule]
        if violation is None or action == "off" or (action == "warn" and step < self._silent_until[rule]):
            return []
        self._silent_until[rule] = step + _COOLDOWN
        return [GuardAlert(rule, action, *violation)]


class SpikeDetector:
    """Compares a loss with the moving mean and deviation of earlier ones. A spike counts as its threshold."""

    def __init__(self, sigmas: float) -> None:
        self._sigmas = sigmas
        self.mean = 0.0
        self.variance = 0.0
        self.seen = 0

    def observe(self, loss: float) -> Violation | None:
        """Return a violation if the loss is a spike."""
        threshold = self.mean + max(self._sigmas * math.sqrt(self.variance), _SPIKE_MIN_RISE * abs(self.mean))
        is_spike = self.seen >= _SPIKE_WARMUP and loss > threshold
        weight = max(1.0 - _SPIKE_DECAY, 1.0 / (self.seen + 1))
        difference = min(loss, threshold) - self.mean if is_spike else loss - self.mean
        self.mean += weight * difference
        self.variance = (1.0 - weight) * (self.variance + weight * difference * difference)
        self.seen += 1
        if not is_spike:
            return None
        return Violation(loss, threshold, "the loss jumped; if it stays high, lower --lr or raise --batch-size")


class MemoryGrowthDetector:
    """Compares memory with the smallest reading since the end of startup, when all repeated work was done once."""

    def __init__(self, growth: float, awaited: set[str]) -> None:
        """`awaited`: the kinds of work, besides steps, that allocate lasting memory when first done."""
        self._growth = growth
        self._awaited = awaited
        self._startup = _MEMORY_STARTUP
        self._restart()

    def _restart(self) -> None:
        self._settling = _MEMORY_SETTLING
        self._smallest: float = math.inf
        self._recent: deque[int] = deque(maxlen=_MEMORY_WINDOW)

    def end_startup_of(self, work: str) -> bool:
        """Record that work was done; return whether it was awaited."""
        if work not in self._awaited:
            return False
        self._awaited.remove(work)
        self._restart()
        return True

    def observe(self, rss_bytes: int) -> Violation | None:
        """Return a violation if all recent readings are beyond the threshold."""
        self._startup -= 1
        if self._awaited and self._startup >= 0:
            return None
        self._settling -= 1
        if self._settling >= 0:
            return None
        self._smallest = min(self._smallest, rss_bytes)
        self._recent.append(rss_bytes)
        lasting = min(self._recent)
        threshold = max(self._growth * self._smallest, self._smallest + _MEMORY_MIN_GROWTH)
        if len(self._recent) < _MEMORY_WINDOW or lasting <= threshold:
            return None
        self._restart()  # the next alert is about further growth
        return Violation(lasting, threshold, "the training process keeps growing; it may run out of memory")


class ThroughputDetector:
    """Compares tokens per second with the median of recent readings."""

    def __init__(self, drop: float) -> None:
        self._drop = drop
        self._recent: deque[float] = deque(maxlen=_THROUGHPUT_WINDOW)
        self._tokens = 0
        self._seconds = 0.0

    def observe(self, tokens: int, seconds: float) -> Violation | None:
        """Return a violation if the reading that these tokens complete is too low."""
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
        hint = "training is much slower than before; check what else uses the machine"
        return Violation(reading, self._drop * usual, hint)
