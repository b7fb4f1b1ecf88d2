"""The learning rate over a run: warmup, plateau, warmdown."""

import math
from collections.abc import Callable

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
