"""Learning rate, Muon's momentum and weight decay of each step: by its number, or by the progress of the run.

Progress is the fraction of the run that is done, between 0 and 1. The formulas by step are those by progress with
warmup and warmdown rounded to whole steps. They are separate, so that runs without a time budget repeat exactly.
"""

import math
from collections.abc import Callable

from engines.interfaces import StepHyperparameters
from engines.settings.train import TrainSettings

_DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1.0 - progress,
    "sqrt": lambda progress: 1.0 - math.sqrt(progress),
    "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    "constant": lambda progress: 1.0,
}
_MOMENTUM_STEPS = 400  # length of the rise, unless the warmdown begins earlier
_MOMENTUM = 0.95  # without a schedule
_FIRST_MOMENTUM, _PEAK_MOMENTUM, _LAST_MOMENTUM = 0.85, 0.97, 0.90


def compute_at_step(step: int, settings: TrainSettings, horizon: int) -> StepHyperparameters:
    """Return the hyperparameters of the update after `step` finished steps out of `horizon`."""
    multiplier = get_lr_multiplier(
        step,
        horizon,
        settings.lr_schedule,
        settings.warmup_fraction,
        settings.warmdown_fraction,
        settings.final_lr_fraction,
    )
    return StepHyperparameters(
        settings.lr * multiplier, get_momentum(step, horizon, settings), get_weight_decay_multiplier(step, horizon)
    )


def compute_at_progress(progress: float, step: int, settings: TrainSettings) -> StepHyperparameters:
    """Return the hyperparameters of the update after `step` finished steps, at this progress of the run."""
    return StepHyperparameters(
        settings.lr * get_lr_multiplier_at(progress, settings),
        _get_momentum_at(progress, step, settings),
        0.5 * (1.0 + math.cos(math.pi * min(1.0, progress))),
    )


def round_half_up(value: float) -> int:
    """Return the nearest integer; halves are rounded up, while Python's `round` rounds them to even."""
    return math.floor(value + 0.5)


# --- by step --------------------------------------------------------------------------------------


def get_lr_multiplier(
    step: int, horizon: int, schedule: str, warmup_fraction: float, warmdown_fraction: float, final_fraction: float
) -> float:
    """Return the factor on the peak learning rate for the update after `step` finished steps out of `horizon`."""
    warmup = round_half_up(warmup_fraction * horizon)
    warmdown = round_half_up(warmdown_fraction * horizon)
    if step < warmup:
        return (step + 1) / warmup
    start = horizon - warmdown
    if schedule == "constant" or warmdown == 0 or step <= start:
        return 1.0
    decay = _DECAYS[schedule](min(1.0, (step - start) / warmdown))
    return final_fraction + (1.0 - final_fraction) * decay


def get_momentum(step: int, horizon: int, settings: TrainSettings) -> float:
    """Return Muon's momentum: it rises while gradients change fast, and falls again with the learning rate."""
    if not settings.momentum_schedule:
        return _MOMENTUM
    warmdown = round_half_up(settings.warmdown_fraction * horizon)
    start = horizon - warmdown
    rise = min(_MOMENTUM_STEPS, start)
    if step < rise:
        return _FIRST_MOMENTUM + (_PEAK_MOMENTUM - _FIRST_MOMENTUM) * step / rise
    if step <= start or warmdown == 0:
        return _PEAK_MOMENTUM
    return _PEAK_MOMENTUM + (_LAST_MOMENTUM - _PEAK_MOMENTUM) * min(1.0, (step - start) / warmdown)


def get_weight_decay_multiplier(step: int, horizon: int) -> float:
    """Return the factor on the weight decay after `step` steps: half a cosine, from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / horizon))) if horizon else 1.0


# --- by progress ----------------------------------------------------------------------------------


def get_lr_multiplier_at(progress: float, settings: TrainSettings) -> float:
    """Return `lr_multiplier` by progress; warmup begins with at least the rate of one step of `settings.steps`."""
    if progress < settings.warmup_fraction:
        return min(1.0, (progress + 1 / max(1, settings.steps)) / settings.warmup_fraction)
    warmdown = settings.warmdown_fraction
    past = progress - (1.0 - warmdown)
    if settings.lr_schedule == "constant" or warmdown == 0 or past <= 0:
        return 1.0
    decay = _DECAYS[settings.lr_schedule](min(1.0, past / warmdown))
    return settings.final_lr_fraction + (1.0 - settings.final_lr_fraction) * decay


def _get_momentum_at(progress: float, step: int, settings: TrainSettings) -> float:
    """Return `momentum` by progress: the rise takes as many steps, and ends when the warmdown begins."""
    if not settings.momentum_schedule:
        return _MOMENTUM
    warmdown = settings.warmdown_fraction
    start = 1.0 - warmdown
    risen = max(step / _MOMENTUM_STEPS, progress / start if start else 1.0)
    if risen < 1.0:
        return _FIRST_MOMENTUM + (_PEAK_MOMENTUM - _FIRST_MOMENTUM) * risen
    if progress <= start or warmdown == 0:
        return _PEAK_MOMENTUM
    return _PEAK_MOMENTUM + (_LAST_MOMENTUM - _PEAK_MOMENTUM) * min(1.0, (progress - start) / warmdown)
