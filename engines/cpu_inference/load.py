"""Loads a model for generation on a CPU. Numpy is imported when the number of its threads is decided."""

import os

from engines.interfaces import Array, LanguageModel
from engines.settings.train import TrainSettings
from engines.system import cpu

# Below, a matrix-vector product is over before a second thread has started.
_MIN_BYTES_FOR_THREADS = 100 << 20


def load_model(settings: TrainSettings, vocab_size: int, weights: dict[str, Array]) -> LanguageModel:
    """Return a model with the weights of a checkpoint.

    The first model of a process decides the number of threads: OpenBLAS reads it when numpy is imported.
    """
    size = sum(len(array.data) for array in weights.values())
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(choose_threads(size)))
    from engines.cpu_inference import factory

    return factory.load_model(settings, vocab_size, weights)


def choose_threads(size: int) -> int:
    """Return the number of threads for a model with weights of `size` bytes."""
    return cpu.default_threads() if size >= _MIN_BYTES_FOR_THREADS else 1
