"""Banks: parameters that one rule updates together, laid out as one tensor, so that an update is a few kernels."""

from collections.abc import Mapping

import torch
from torch import Tensor

from engines.tensor.devices import Place

_ALIGNMENT = 64  # numbers; kernels read a parameter that begins at an even address faster


class Bank:
    """Parameters as views of `weights`, their gradients as views of `gradients`: two flat tensors of the same layout.

    Between parameters of different shapes there may be a few zeros, which stay zero.
    """

    def __init__(self, parts: Mapping[str, Tensor], where: Place) -> None:
        shapes = {part.shape for part in parts.values()}
        alignment = 1 if len(shapes) == 1 else _ALIGNMENT
        sizes = {name: -(-part.numel() // alignment) * alignment for name, part in parts.items()}
        self.weights = torch.zeros(sum(sizes.values()), dtype=where.weights, device=where.device)
        self.gradients = torch.zeros_like(self.weights)
        self.parameters: dict[str, Tensor] = {}
        self._shape = next(iter(shapes)) if len(shapes) == 1 else None
        begin = 0
        for name, part in parts.items():
            end = begin + part.numel()
            self.weights[begin:end].copy_(part.flatten())
            parameter = self.weights[begin:end].view(part.shape).requires_grad_()
            parameter.grad = self.gradients[begin:end].view(part.shape)
            self.parameters[name] = parameter
            begin += sizes[name]

    def stacked(self, flat: Tensor) -> Tensor:
        """A tensor of the bank's layout as (parameters, rows, columns); all must be matrices of one shape."""
        assert self._shape is not None
        return flat.view(-1, *self._shape)
