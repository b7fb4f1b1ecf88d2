"""Between tensors and the arrays of a checkpoint."""

import torch
from torch import Tensor

from engines.interfaces import Array

_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


def to_array(tensor: Tensor) -> Array:
    """A copy of a tensor as it lies on disk."""
    held = bytearray(tensor.numel() * tensor.element_size())
    torch.frombuffer(held, dtype=tensor.dtype).copy_(tensor.detach().flatten())
    return Array(_NAMES[tensor.dtype], tuple(tensor.shape), memoryview(held))


def to_tensor(array: Array) -> Tensor:
    """A new tensor on the CPU."""
    return torch.frombuffer(bytearray(array.data), dtype=_DTYPES[array.dtype]).reshape(array.shape)
