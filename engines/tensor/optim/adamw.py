"""SGD and AdamW on flat buffers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from engines.tensor.optim.flat_buffers import FlatBuffer
from engines.tensor.optim.optimizer import DeviceHyperparameters, copy_where

_CHUNK_SIZE = 2**18  # elements on a CPU: 1 MB of each tensor stays in its cache


class SGD:
    """p -= lr * g."""

    def __init__(self, buffer: FlatBuffer) -> None:
        self.buffer = buffer

    def update(self, hyperparameters: DeviceHyperparameters, is_valid: Tensor) -> None:
        weights = self.buffer.weights
        copy_where(is_valid, (weights, weights - hyperparameters.lr * self.buffer.gradients))

    def state(self) -> dict[str, Tensor]:
        return {}


class AdamW:
    """AdamW (Loshchilov and Hutter, 2019). On a CPU its numbers are those of the scalar engine, bit for bit."""

    def __init__(
        self, buffer: FlatBuffer, lr_multiplier: float, beta1: float, beta2: float, eps: float, weight_decay: float
    ) -> None:
        """`lr_multiplier`: this buffer's learning rate relative to the run's."""
        self.buffer = buffer
        self._lr_multiplier, self._beta1, self._beta2, self._eps = lr_multiplier, beta1, beta2, eps
        self._weight_decay = weight_decay
        self._means, self._squares = torch.zeros_like(buffer.weights), torch.zeros_like(buffer.weights)
        self._updates = torch.zeros((), dtype=torch.int64, device=buffer.weights.device)
        self._uses_fused_kernel = buffer.weights.is_cuda and buffer.weights.dtype == torch.float32

    def update(self, hyperparameters: DeviceHyperparameters, is_valid: Tensor) -> None:
        update = self._update_with_fused_kernel if self._uses_fused_kernel else self._update_in_chunks
        update(self._lr_multiplier * hyperparameters.lr, is_valid)
        self._updates.add_(is_valid)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self._means, "square": self._squares, "updates": self._updates}

    def _update_in_chunks(self, lr: Tensor, is_valid: Tensor) -> None:
        buffer, dtype = self.buffer, self.buffer.weights.dtype
        updates = (self._updates + is_valid).to(lr.dtype)
        # sqrt(v / correction) + eps, with the correction moved out of the large tensors
        correction = torch.sqrt(1.0 - self._beta2**updates)
        scalars = _Scalars(
            rate=(lr * correction / (1.0 - self._beta1**updates)).to(dtype),
            eps=(self._eps * correction).to(dtype),
            decay=(1.0 - lr * self._weight_decay).to(dtype),
        )
        for gradients, *state in _chunks(buffer.gradients, buffer.weights, self._means, self._squares):
            if is_valid.is_cpu:
                self._update_in_place(gradients, state, scalars)
            else:
                new_state = [tensor.clone() for tensor in state]
                self._update_in_place(gradients, new_state, scalars)
                copy_where(is_valid, *zip(state, new_state, strict=True))

    def _update_in_place(self, gradients: Tensor, state: Sequence[Tensor], scalars: "_Scalars") -> None:
        weights, means, squares = state
        means.mul_(self._beta1).add_((1.0 - self._beta1) * gradients)
        squares.mul_(self._beta2).add_(gradients.square().mul_(1.0 - self._beta2))
        weights.mul_(scalars.decay).sub_((scalars.rate * means).div_(squares.sqrt().add_(scalars.eps)))

    def _update_with_fused_kernel(self, lr: Tensor, is_valid: Tensor) -> None:
        """Use torch's kernel, which computes in float32 and changes nothing where `found_inf` is set."""
        adamw(
            [self.buffer.weights],
            [self.buffer.gradients],
            [self._means],
            [self._squares],
            [],
            [self._updates.float()],  # a copy, in which the kernel counts this update
            fused=True,
            found_inf=(~is_valid).float(),
            amsgrad=False,
            beta1=self._beta1,
            beta2=self._beta2,
            lr=lr.float(),
            weight_decay=self._weight_decay,
            eps=self._eps,
            maximize=False,
        )


class _Scalars(NamedTuple):
    """Factors of an update, in the dtype of the weights."""

    rate: Tensor
    eps: Tensor
    decay: Tensor


def _chunks(*flat: Tensor) -> Iterator[Sequence[Tensor]]:
    """Split tensors of one length into chunks on a CPU, so that intermediate results stay in its cache."""
    size = _CHUNK_SIZE if flat[0].device.type == "cpu" else len(flat[0])
    yield from zip(*(tensor.split(size) for tensor in flat), strict=True)
