"""The optimizer of a model: an update rule for each flat buffer.

An update that is not finite is masked on the device, so that no step waits for the host to check.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from engines.tensor.devices import accumulation_dtype
from engines.tensor.models.cpu_functions import sum_all
from engines.tensor.optim.flat_buffers import FlatBuffer


class DeviceHyperparameters(NamedTuple):
    """`StepHyperparameters` as tensors on the device, so that compiled and captured code takes new values."""

    lr: Tensor
    momentum: Tensor  # Muon's
    weight_decay_multiplier: Tensor  # Muon's
    apply_update: Tensor  # 0 leaves the update out


class UpdateRule(Protocol):
    """Updates the parameters of one flat buffer."""

    buffer: FlatBuffer

    def update(self, hyperparameters: DeviceHyperparameters, is_valid: Tensor) -> None:
        """Apply one update. Where `is_valid`, a boolean on the device, is false, nothing changes."""

    def state(self) -> dict[str, Tensor]:
        """Return the state between updates, to be saved and loaded in place."""


class Optimizer:
    """An update rule for each flat buffer of a model's parameters."""

    def __init__(self, rules: dict[str, UpdateRule]) -> None:
        """`rules` by the name of their group."""
        self._rules = rules
        # code is compiled for the first buffer, in blocks that suit its size, and serves the others
        self._largest_first = sorted(rules.values(), key=lambda rule: len(rule.buffer.weights), reverse=True)

    @property
    def buffers(self) -> Iterator[FlatBuffer]:
        return (rule.buffer for rule in self._rules.values())

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return all parameters by checkpoint name."""
        return {name: parameter for buffer in self.buffers for name, parameter in buffer.parameters.items()}

    def zero_grad(self) -> None:
        for buffer in self.buffers:
            buffer.gradients.zero_()

    @torch.no_grad()
    def step(self, loss: Tensor, hyperparameters: DeviceHyperparameters) -> Tensor:
        """Update all buffers if the loss and the gradient are finite.

        Returns the loss and the gradient's norm as one tensor (2), in float64 (float32 on MPS).
        """
        norm = _gradient_norm([buffer.gradients for buffer in self.buffers])
        dtype = accumulation_dtype(norm.device)
        result = torch.stack((loss.to(dtype), norm.to(dtype)))
        is_valid = torch.isfinite(result).all() & (hyperparameters.apply_update > 0.0)
        if is_valid.is_cpu and not is_valid:  # nothing waits here, unlike on a GPU
            return result
        for rule in self._largest_first:
            rule.update(hyperparameters, is_valid)
        return result

    def state(self) -> dict[str, Tensor]:
        """Return the state of all rules, by the names that checkpoints use."""
        return {
            f"{group}.{name}": tensor for group, rule in self._rules.items() for name, tensor in rule.state().items()
        }


def copy_where(is_valid: Tensor, *changes: tuple[Tensor, Tensor]) -> None:
    """Copy each new value over its old one, unless the update is not valid, which `Optimizer` checks on a CPU."""
    for old, new in changes:
        old.copy_(new if is_valid.is_cpu else torch.where(is_valid, new, old))


def _gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    if gradients[0].is_cpu:
        return torch.stack([sum_all(gradient.square()) for gradient in gradients]).sum().sqrt()
    return torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]).square().sum().sqrt()
