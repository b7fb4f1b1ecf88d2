"""Estimate the time of a training step, from FLOP/s that were measured."""

import dataclasses
import itertools
import math

from engines.cost.gpu_models import peak_flops
from engines.cost.machine import Machine, resolve_for_machine
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings

# Fraction of a GPU's peak that training reaches, by model width; interpolated by the logarithm of the width.
# Measured on an H200 at depths 4, 6 and 12 with sliding windows; the first is an estimate.
_UTILISATION = ((64, 0.03), (256, 0.27), (384, 0.32), (768, 0.49))
_LAUNCH_SECONDS = {"cuda": 2e-6, "cpu": 13e-6}  # per kernel; on a GPU within a CUDA graph
_LAUNCHES_PER_LAYER = 100  # forward, backward and update; an estimate, within a factor of two on CPUs as well
# FLOP/s per core: gpts of depth 2 to 6 reached 54 to 79 and 103 to 186 billion with AVX-512; elsewhere an estimate.
_CPU_FLOPS = {"float32": 60e9, "bfloat16": 130e9, "float64": 30e9}
_SCALAR_FLOPS = 70e6  # 40 to 120 million depending on the shape, on the machine of results/bench/scalar.md


def estimate_step_seconds(
    settings: TrainSettings, vocab_size: int, flops_per_token: int, machine: Machine
) -> tuple[float | None, str]:
    """Return the seconds per step, and the assumption behind them. None if the machine's speed is unknown."""
    speed, assumption = _estimate_flops_per_second(settings, vocab_size, machine)
    if speed is None:
        return None, assumption
    tokens, launches = settings.tokens_per_step, 0.0
    if settings.mode == "tensor":
        per_launch = _LAUNCH_SECONDS["cuda" if settings.device == "cuda" else "cpu"]
        launches = per_launch * _LAUNCHES_PER_LAYER * (settings.layers + 1)
    elif settings.model_kind == "bigram":
        tokens = min(tokens, vocab_size)  # equal tokens of a batch are computed once
    arithmetic = tokens * flops_per_token / speed
    return (arithmetic, assumption) if arithmetic > launches else (launches, "the launch rate of kernels")


def _estimate_flops_per_second(settings: TrainSettings, vocab_size: int, machine: Machine) -> tuple[float | None, str]:
    """Return the FLOP/s of training, and where they are from. None if they are unknown."""
    if settings.mode == "scalar":
        return _SCALAR_FLOPS, f"{_SCALAR_FLOPS / 1e6:.0f} MFLOP/s, typical of pure Python"
    if settings.device == "cpu":
        cores = settings.threads or machine.cores
        per_core = _CPU_FLOPS[settings.dtype]
        used = "1 core" if cores == 1 else f"{cores} cores"
        return cores * per_core, f"{per_core / 1e9:.0f} GFLOP/s per core on {used}, a rough estimate"
    if settings.device == "mps":
        return None, "the speed of Metal GPUs is unknown"
    peak = peak_flops(machine.gpu or "")
    if peak is None:
        return None, f"the peak FLOP/s of {machine.gpu} are unknown"
    if settings.dtype != resolve_for_machine(dataclasses.replace(settings, dtype=AUTO), machine).dtype:
        return None, f"the speed of {settings.dtype} on {machine.gpu} is unknown"
    utilisation = _utilisation(settings.width or vocab_size)
    return utilisation * peak, f"{100 * utilisation:.0f} % of {peak / 1e12:.4g} TFLOP/s, typical of this model width"


def _utilisation(width: int) -> float:
    """Return the fraction of a GPU's peak that a model of this width reaches."""
    if width <= _UTILISATION[0][0]:
        return _UTILISATION[0][1]
    for (narrow, low), (wide, high) in itertools.pairwise(_UTILISATION):
        if width <= wide:
            return low + (high - low) * math.log(width / narrow) / math.log(wide / narrow)
    return _UTILISATION[-1][1]
