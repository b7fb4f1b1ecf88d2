"""The learning rate over a run: warmup, plateau, warmdown."""

import math
from collections.abc import Callable

from engines.config import TrainSettings

_DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1.0 - progress,
    "sqrt": lambda progress: 1.0 - math.sqrt(progress),
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "constant": lambda progress: 1.0,
}


def round_half_up(value: float) -> int:
    """Halves go up, where Python's `round` goes to the even neighbour."""
    return math.floor(value + 0.5)


def lr_multiplier(
    step: int, horizon: int, schedule: str, warmup_fraction: float, warmdown_fraction: float, final_fraction: float
) -> float:
    """The part of the peak learning rate that the update after `step` finished steps of `horizon` uses."""
    warmup = round_half_up(warmup_fraction * horizon)
    warmdown = round_half_up(warmdown_fraction * horizon)
    if step < warmup:
        return (step + 1) / warmup
    start = horizon - warmdown
    if schedule == "constant" or warmdown == 0 or step <= start:
        return 1.0
    decay = _DECAYS[schedule](min(1.0, (step - start) / warmdown))
    return final_fraction + (1.0 - final_fraction) * decay


_MOMENTUM_STEPS = 400  # of a rise, at most up to the warmdown
_MOMENTUM = 0.95  # without a schedule
_FIRST_MOMENTUM, _PEAK_MOMENTUM, _LAST_MOMENTUM = 0.85, 0.97, 0.90


def momentum(step: int, settings: TrainSettings) -> float:
    """Muon's momentum: it rises while gradients still turn fast, and falls again with the learning rate."""
    if not settings.momentum_schedule:
        return _MOMENTUM
    warmdown = round_half_up(settings.warmdown_fraction * settings.steps)
    start = settings.steps - warmdown
    rise = min(_MOMENTUM_STEPS, start)
    if step < rise:
        return _FIRST_MOMENTUM + (_PEAK_MOMENTUM - _FIRST_MOMENTUM) * step / rise
    if step <= start or warmdown == 0:
        return _PEAK_MOMENTUM
    return _PEAK_MOMENTUM + (_LAST_MOMENTUM - _PEAK_MOMENTUM) * min(1.0, (step - start) / warmdown)


def decay_left(step: int, horizon: int) -> float:
    """The part of the weight decay that is left after `step` steps: half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / horizon))) if horizon else 1.0
