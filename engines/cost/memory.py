"""Estimate the memory of training: parameters are counted, activations are fitted to measurements."""

import dataclasses
import math
from typing import NamedTuple

from engines.cost.gpu_models import is_hopper
from engines.cost.parameter_shapes import Shape, is_matrix, numel, pad_vocab_size, parameter_shapes
from engines.settings.fields import AUTO
from engines.settings.train import TrainSettings

USABLE_MEMORY = 0.9  # fraction of the free memory; a guess at what fragmentation and libraries need
_CPU_TOKENS_PER_MICRO_BATCH = 8192  # more do not keep a CPU busier
# Elements of the residual stream per micro-batch that keep an H200 busy (docs/performance/). They grow with the number
# of parameters, because every micro-batch adds to all gradients, within these bounds.
_GPU_ELEMENTS_PER_MICRO_BATCH = (1 << 24, 1 << 27)
_GPU_ELEMENTS_PER_PARAMETER = 0.75
_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float64": 8}
_PYTHON_FLOAT_BYTES = 32  # the object, and its place in a list


class _SavedElements(NamedTuple):
    """Elements that a forward pass saves for the backward pass."""

    per_logit: float
    per_channel: float  # of each layer's residual stream


# Fitted to the peaks on an H200 at depths 4, 6 (vocabulary 8,192) and 12 (32,768): within 3 % of all three, measured
# before the MLPs saved only squares, and queries and keys only once.
_SAVED_COMPILED = _SavedElements(2.05, 20)
_SAVED_FUSED = _SavedElements(1.15, 20)  # with the loss in one kernel; fitted at depth 6, vocabulary 32,768
_SAVED_HOPPER = _SavedElements(
    1.15, 15
)  # our kernels: within 2 % at depths 4 and 6, 10 % too much at vocabulary 32,768
_SAVED_EAGER = _SavedElements(4, 22)  # by torch's profiler on a CPU
_SAVED_CPU = _SavedElements(1, 19)  # with a chunked loss; counted at 2 and 4 layers
_SAVED_SCALAR = _SavedElements(4, 36)  # value and gradient of each; a guess


@dataclasses.dataclass(frozen=True)
class TrainingMemory:
    """Memory of training, in bytes."""

    weights: int
    gradients: int
    optimizer: int
    activations_per_row: int  # an estimate

    @property
    def fixed(self) -> int:
        """Bytes that do not depend on the micro-batch."""
        return self.weights + self.gradients + self.optimizer

    def with_rows(self, rows: int) -> int:
        """Return the bytes of training with micro-batches of so many rows."""
        return self.fixed + rows * self.activations_per_row


def estimate_memory(settings: TrainSettings, vocab_size: int, gpu: str | None) -> TrainingMemory:
    """Estimate the memory of training on a GPU of that name, or on the CPU. Device and dtype must be decided."""
    shapes = parameter_shapes(settings, vocab_size)
    size = _PYTHON_FLOAT_BYTES if settings.mode == "scalar" else max(4, _ELEMENT_BYTES[settings.dtype])
    weights = size * sum(map(numel, shapes.values()))
    return TrainingMemory(
        weights=weights,
        gradients=weights,
        optimizer=size * sum(_optimizer_elements(settings.optimizer, name, shape) for name, shape in shapes.items()),
        activations_per_row=activation_bytes_per_row(settings, vocab_size, gpu),
    )


def activation_bytes_per_row(settings: TrainSettings, vocab_size: int, gpu: str | None = None) -> int:
    """Estimate the bytes that a forward pass saves of one row for the backward pass, on a GPU of that name.

    Settings left to `auto` count as on a GPU.
    """
    channels = settings.layers * settings.width
    if settings.model_kind == "gpt":
        vocab_size = pad_vocab_size(vocab_size)
    if settings.model_kind == "bigram":
        channels = vocab_size  # its embedding is as wide as the vocabulary
    if settings.mode == "scalar":
        saved, size, logit_size = _SAVED_SCALAR, _PYTHON_FLOAT_BYTES, _PYTHON_FLOAT_BYTES
    else:
        size = _ELEMENT_BYTES["bfloat16" if settings.dtype == AUTO else settings.dtype]
        saved, logit_size = _saved_by_tensor_engine(settings, size, gpu)
    saved_logits = saved.per_logit * vocab_size
    return math.ceil(settings.context_length * (logit_size * saved_logits + size * saved.per_channel * channels))


def _saved_by_tensor_engine(settings: TrainSettings, size: int, gpu: str | None) -> tuple[_SavedElements, int]:
    """Return what is saved in elements of `size` bytes, and the bytes of a logit."""
    is_auto = settings.compile == AUTO and settings.model_kind == "gpt"
    is_compiled = is_auto or settings.compile in ("on", "regions")
    on_cpu = settings.device == "cpu" and settings.model_kind == "gpt" and size < _ELEMENT_BYTES["float64"]
    has_fused_loss = is_compiled and size == _ELEMENT_BYTES["bfloat16"] and settings.softcap
    if has_fused_loss:
        saved = _SAVED_HOPPER if is_hopper(gpu or "") else _SAVED_FUSED
    elif is_compiled:
        saved = _SAVED_COMPILED
    else:
        saved = _SAVED_CPU if on_cpu else _SAVED_EAGER
    return saved, size if is_compiled or on_cpu else max(4, size)


def largest_micro_batch(settings: TrainSettings, vocab_size: int, free_bytes: int, gpu: str | None = None) -> int:
    """Return the largest divisor of the batch size whose activations fit in these bytes; 0 if not even one row fits."""
    fitting = free_bytes // activation_bytes_per_row(settings, vocab_size, gpu)
    return next((rows for rows in divisors(settings.batch_size) if rows <= fitting), 0)


def choose_micro_batch(settings: TrainSettings, vocab_size: int, free_bytes: int, gpu: str | None = None) -> int:
    """Return the rows per micro-batch that `--micro-batch 0` selects: as many as fit, but no more than keep the device
    busy. 0 if not even one row fits."""
    fitting = largest_micro_batch(settings, vocab_size, free_bytes, gpu)
    if settings.mode == "tensor":
        on_cpu = settings.device == "cpu"
        enough = _CPU_TOKENS_PER_MICRO_BATCH if on_cpu else _gpu_tokens_per_micro_batch(settings, vocab_size)
        fitting = min(fitting, max(1, enough // settings.context_length))
    return next((rows for rows in divisors(settings.batch_size) if rows <= fitting), 0)


def divisors(number: int) -> list[int]:
    """Return all divisors, largest first."""
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)}, reverse=True)


def _gpu_tokens_per_micro_batch(settings: TrainSettings, vocab_size: int) -> int:
    fewest, most = _GPU_ELEMENTS_PER_MICRO_BATCH
    parameters = sum(map(numel, parameter_shapes(settings, vocab_size).values()))
    elements = min(most, max(fewest, int(_GPU_ELEMENTS_PER_PARAMETER * parameters)))
    return elements // (settings.width or vocab_size)


def _optimizer_elements(optimizer: str, name: str, shape: Shape) -> int:
    """Return the elements of optimizer state of one parameter: AdamW keeps two moments, Muon a momentum and a second
    moment per neuron."""
    if optimizer == "sgd":
        return 0
    if optimizer == "muon" and is_matrix(name):
        return numel(shape) + max(shape)
    return 2 * numel(shape)
