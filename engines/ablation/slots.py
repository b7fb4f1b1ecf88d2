"""How many cells train at once, and which GPU each may see."""

import os
from collections.abc import Sequence

from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings
from engines.system.cpu import usable_cores
from engines.system.gpus import gpus

VISIBLE = "CUDA_VISIBLE_DEVICES"
Place = str | None  # the GPU that a run there sees, None where it needs none


def places(settings: Sequence[TrainSettings], jobs: int | str) -> list[Place]:
    """A place for each cell that trains at the same time: the GPU it sees, or None where it needs none."""
    found = _gpus() if any(wants_gpu(cell) for cell in settings) else []
    if not found:
        return [None] * (_on_processor(settings) if jobs == AUTO else int(jobs))
    number = len(found) if jobs == AUTO else int(jobs)
    return [found[index % len(found)] for index in range(number)]


def wants_gpu(settings: TrainSettings) -> bool:
    return settings.mode == "tensor" and settings.device in (AUTO, "cuda")


def _gpus() -> list[str]:
    """Names by which CUDA knows the GPUs that this process may use."""
    names = os.environ.get(VISIBLE)
    known = range(len(gpus()))
    return [name.strip() for name in names.split(",")][: len(known)] if names else [str(index) for index in known]


def _on_processor(settings: Sequence[TrainSettings]) -> int:
    """A scalar cell takes a core, a tensor one its threads."""
    cores = usable_cores()
    most_threads = max(_threads(cell, cores) for cell in settings)
    return max(1, cores // most_threads)


def _threads(settings: TrainSettings, cores: int) -> int:
    return 1 if settings.mode == "scalar" else settings.threads or max(1, cores - 1)
