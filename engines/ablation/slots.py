"""Slots of a study: how many runs train at the same time, and which GPU each of them sees."""

import os
from collections.abc import Sequence

from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.system.cpu import usable_cores
from engines.system.gpus import list_gpus

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
Slot = str | None  # the GPU that a run sees, as CUDA_VISIBLE_DEVICES names it; None if it needs no GPU


def allocate_slots(settings: Sequence[TrainSettings], jobs: int | str) -> list[Slot]:
    """Return one slot per run that trains at the same time: `jobs` of them, or for "auto" one per GPU or core."""
    devices = _visible_gpus() if any(needs_gpu(cell) for cell in settings) else []
    if not devices:
        return [None] * (_count_cpu_slots(settings) if jobs == AUTO else int(jobs))
    count = len(devices) if jobs == AUTO else int(jobs)
    return [devices[index % len(devices)] for index in range(count)]


def needs_gpu(settings: TrainSettings) -> bool:
    """Return whether a run trains on a GPU if there is one."""
    return settings.mode == "tensor" and settings.device in (AUTO, "cuda")


def _visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    names = os.environ.get(VISIBLE_DEVICES)
    known = range(len(list_gpus()))
    return [name.strip() for name in names.split(",")][: len(known)] if names else [str(index) for index in known]


def _count_cpu_slots(settings: Sequence[TrainSettings]) -> int:
    """Return how many runs the usable cores train at once: a scalar run uses one core, a tensor run its threads."""
    cores = usable_cores()
    return max(1, cores // max(_count_threads(cell, cores) for cell in settings))


def _count_threads(settings: TrainSettings, cores: int) -> int:
    return 1 if settings.mode == "scalar" else settings.threads or max(1, cores - 1)
