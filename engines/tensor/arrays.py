"""Converts between tensors and the arrays of a checkpoint."""

import torch
from torch import Tensor

from engines.interfaces import Array

_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


def to_array(tensor: Tensor) -> Array:
    """Return a copy of a tensor, in the layout of a checkpoint file."""
    buffer = bytearray(tensor.numel() * tensor.element_size())
    torch.frombuffer(buffer, dtype=tensor.dtype).copy_(tensor.detach().flatten())
    return Array(_NAMES[tensor.dtype], tuple(tensor.shape), memoryview(buffer))


def to_tensor(array: Array) -> Tensor:
    """Return a new tensor on the CPU."""
    return torch.frombuffer(bytearray(array.data), dtype=_DTYPES[array.dtype]).reshape(array.shape)
