"""SGD and AdamW on banks, and the optimizer that holds a rule for each bank.

An update that is not finite is masked on the device, so that no step waits for the host to look.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from engines.tensor.devices import exact_dtype
from engines.tensor.optim.flat_buffers import Bank

_NUMBERS_AT_ONCE = 2**18  # a megabyte of each


class Pace(NamedTuple):
    """What changes from step to step: numbers on the device, so that compiled and recorded code takes new ones."""

    lr: Tensor
    momentum: Tensor  # Muon's
    decay: Tensor  # part of Muon's weight decay that is left
    wanted: Tensor  # 0 where the update is to be left out


class Rule(Protocol):
    """How one bank moves."""

    bank: Bank

    def update(self, pace: Pace, good: Tensor) -> None:
        """One update; where `good`, a boolean on the device, is false, nothing changes."""

    def kept(self) -> dict[str, Tensor]:
        """What the rule remembers between updates, to be saved and loaded in place."""


class SGD:
    """p -= lr * g."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def update(self, pace: Pace, good: Tensor) -> None:
        weights = self.bank.weights
        keep(good, (weights, weights - pace.lr * self.bank.gradients))

    def kept(self) -> dict[str, Tensor]:
        return {}


class AdamW:
    """The scalar engine's AdamW (Loshchilov and Hutter, 2019), number for number; on a GPU to rounding."""

    def __init__(self, bank: Bank, rate: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> None:
        """`rate`: this bank's learning rate as a multiple of the run's."""
        self.bank = bank
        self._rate, self._beta1, self._beta2, self._eps, self._decay = rate, beta1, beta2, eps, weight_decay
        self._means, self._squares = torch.zeros_like(bank.weights), torch.zeros_like(bank.weights)
        self._updates = torch.zeros((), dtype=torch.int64, device=bank.weights.device)
        self._in_one_pass = bank.weights.is_cuda and bank.weights.dtype == torch.float32

    def update(self, pace: Pace, good: Tensor) -> None:
        move = self._move_in_one_pass if self._in_one_pass else self._move_by_formula
        move(self._rate * pace.lr, good)
        self._updates.add_(good)

    def kept(self) -> dict[str, Tensor]:
        return {"mean": self._means, "square": self._squares, "updates": self._updates}

    def _move_by_formula(self, lr: Tensor, good: Tensor) -> None:
        bank, updates = self.bank, (self._updates + good).to(lr.dtype)
        # sqrt(v / correction) + eps, with the correction taken out of the large tensors
        correction = torch.sqrt(1.0 - self._beta2**updates)
        rate = (lr * correction / (1.0 - self._beta1**updates)).to(bank.weights.dtype)
        eps = (self._eps * correction).to(bank.weights.dtype)
        for weights, gradients, means, squares in portions(bank.weights, bank.gradients, self._means, self._squares):
            new_means = self._beta1 * means + (1.0 - self._beta1) * gradients
            new_squares = self._beta2 * squares + (1.0 - self._beta2) * gradients.square()
            moved = weights * (1.0 - lr * self._decay) - rate * new_means / (new_squares.sqrt() + eps)
            keep(good, (weights, moved), (means, new_means), (squares, new_squares))

    def _move_in_one_pass(self, lr: Tensor, good: Tensor) -> None:
        """By torch's kernel, which takes its numbers in float32, and changes nothing where something bad was found."""
        adamw(
            [self.bank.weights],
            [self.bank.gradients],
            [self._means],
            [self._squares],
            [],
            [self._updates.float()],  # a copy, in which it counts this update
            fused=True,
            found_inf=(~good).float(),
            amsgrad=False,
            beta1=self._beta1,
            beta2=self._beta2,
            lr=lr.float(),
            weight_decay=self._decay,
            eps=self._eps,
            maximize=False,
        )


def portions(*flat: Tensor) -> Iterator[Sequence[Tensor]]:
    """Tensors of one length, part by part on a processor: each is then read from its cache but once, and so is all
    that is worked out of it."""
    by_parts = flat[0].device.type == "cpu"
    yield from zip(*(tensor.split(_NUMBERS_AT_ONCE if by_parts else len(tensor)) for tensor in flat), strict=True)


def keep(good: Tensor, *changes: tuple[Tensor, Tensor]) -> None:
    """Put each new value in the place of the old one, unless the update is bad."""
    for old, new in changes:
        old.copy_(torch.where(good, new, old))


class Optimizer:
    """A rule for each bank of a model's parameters."""

    def __init__(self, rules: dict[str, Rule]) -> None:
        self._rules = rules
        # code is compiled for the first bank, in blocks that suit its size, and serves the others
        self._largest_first = sorted(rules.values(), key=lambda rule: len(rule.bank.weights), reverse=True)

    @property
    def banks(self) -> Iterator[Bank]:
        return (rule.bank for rule in self._rules.values())

    def parameters(self) -> dict[str, Tensor]:
        return {name: parameter for bank in self.banks for name, parameter in bank.parameters.items()}

    def zero_gradients(self) -> None:
        for bank in self.banks:
            bank.gradients.zero_()

    @torch.no_grad()
    def update(self, loss: Tensor, pace: Pace) -> Tensor:
        """Update all banks if it is wanted and the loss and the gradient are finite; the loss and the gradient's norm,
        in one tensor of float64 (float32 on MPS)."""
        norm = _norm([bank.gradients for bank in self.banks])
        exact = exact_dtype(norm.device)
        result = torch.stack((loss.to(exact), norm.to(exact)))
        good = torch.isfinite(result).all() & (pace.wanted > 0.0)
        for rule in self._largest_first:
            rule.update(pace, good)
        return result

    def kept(self) -> dict[str, Tensor]:
        """All that the rules remember, by the names that checkpoints use."""
        return {
            f"{group}.{name}": tensor for group, rule in self._rules.items() for name, tensor in rule.kept().items()
        }


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]).square().sum().sqrt()
