"""Flat buffers: parameters that are updated together as one tensor, so that an update is a few kernels."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engines.tensor.devices import DeviceConfig

_ALIGNMENT = 64  # elements; kernels read a parameter at an even address faster


class FlatBuffer:
    """Parameters as views of `weights`, and their gradients as views of `gradients`: flat tensors of the same layout.

    Parameters of different shapes are padded with zeros, which stay zero.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: DeviceConfig) -> None:
        """Copy `tensors`, by name, to the device of `config`."""
        shapes = {tensor.shape for tensor in tensors.values()}
        alignment = 1 if len(shapes) == 1 else _ALIGNMENT
        sizes = {name: -(-tensor.numel() // alignment) * alignment for name, tensor in tensors.items()}
        self.weights = torch.zeros(sum(sizes.values()), dtype=config.weight_dtype, device=config.device)
        self.gradients = torch.zeros_like(self.weights)
        self.parameters: dict[str, nn.Parameter] = {}
        self._shape = next(iter(shapes)) if len(shapes) == 1 else None
        begin = 0
        for name, tensor in tensors.items():
            end = begin + tensor.numel()
            self.weights[begin:end].copy_(tensor.flatten())
            parameter = nn.Parameter(self.weights[begin:end].view(tensor.shape))
            parameter.grad = self.gradients[begin:end].view(tensor.shape)
            self.parameters[name] = parameter
            begin += sizes[name]

    def stack(self, flat: Tensor) -> Tensor:
        """View a tensor of the buffer's layout as (parameters, rows, columns); all must be matrices of one shape."""
        assert self._shape is not None
        return flat.view(-1, *self._shape)
