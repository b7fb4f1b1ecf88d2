"""Muon: momentum whose matrices are made orthogonal before they are added (Jordan and others, 2024).

A bank holds matrices of one shape, so that one batched product serves them all. The parts, each with a switch:

- Polar Express (Amsel and others, arXiv 2505.16932): the five steps towards the nearest orthogonal matrix have
  coefficients of their own; without, one quintic (Jordan) is used five times.
- Row equilibration (MuonEq, arXiv 2603.28254): rows get the same norm first, which conditions the matrix better.
- Renormalization (Muon+, arXiv 2602.21545): the result gets the norm that an orthogonal matrix has.
- Variance reduction (NorMuon, arXiv 2510.05491): neurons whose updates were large take smaller ones.
- Cautious decay: only weights that the update moves towards zero decay, less and less over the run.

The order of the parts and their constants follow karpathy/nanochat (nanochat/optim.py at 92d63d4).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from engines.config import TrainSettings
from engines.tensor.banks import Bank
from engines.tensor.optimizers import Pace, keep, on_device

_POLAR_EXPRESS = (  # for five steps, with a margin of 0.02 below the largest singular value (arXiv 2505.16932)
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
_QUINTIC = ((3.4445, -4.7750, 2.0315),) * 5
_VARIANCE_BETA = 0.9
_LARGEST_OVERSHOOT = 1.01  # the norm bounds the largest singular value from above; rounding may pass it


class MuonSwitches(NamedTuple):
    """Which parts are on."""

    polar_express: bool
    row_equilibration: bool
    renormalization: bool
    variance_reduction: bool
    cautious_decay: bool

    @classmethod
    def of(cls, settings: TrainSettings) -> "MuonSwitches":
        return cls(*(getattr(settings, name) for name in cls._fields))


class Muon:
    """The rule for a bank of (K, m, n) matrices. Tall ones move by sqrt(m / n) more (Bernstein and others)."""

    def __init__(self, bank: Bank, weight_decay: float, switches: MuonSwitches, dtype: torch.dtype) -> None:
        """`dtype`: the precision of the products, bfloat16 where that is fast."""
        self.bank = bank
        (self._decay,) = on_device(bank, weight_decay)
        self._switches = switches
        self._dtype = dtype
        self._momentum = torch.zeros_like(bank.weights)
        rows, columns = bank.stacked(bank.weights).shape[1:]
        self._scale = math.sqrt(max(1.0, rows / columns))
        self._over = -1 if rows >= columns else -2  # a variance for each of the longer side
        self._variance = bank.stacked(bank.weights).mean(self._over, keepdim=True).zero_()

    def update(self, pace: Pace, good: Tensor) -> None:
        weights, gradients = (self.bank.stacked(flat) for flat in (self.bank.weights, self.bank.gradients))
        old = self.bank.stacked(self._momentum)
        momentum = torch.lerp(gradients, old, pace.momentum.to(old.dtype))
        direction = torch.lerp(gradients, momentum, pace.momentum.to(old.dtype))  # Nesterov's
        direction = self._orthogonal(direction.to(self._dtype)).to(weights.dtype)
        variance = self._variance
        if self._switches.variance_reduction:
            direction, variance = _with_less_variance(direction, self._variance, self._over)
        lr = self._scale * pace.lr
        decaying = weights
        decay = lr * self._decay
        if self._switches.cautious_decay:
            decaying = weights * (direction * weights >= 0)
            decay = decay * pace.decay
        moved = weights - lr * direction - decay * decaying
        keep(good, (weights, moved), (old, momentum), (self._variance, variance))

    def kept(self) -> dict[str, Tensor]:
        return {"momentum": self._momentum, "variance": self._variance}

    def _orthogonal(self, x: Tensor) -> Tensor:
        """About the nearest orthogonal matrix to each of (K, m, n)."""
        if self._switches.row_equilibration:
            x = _with_equal_rows(x)
        x = x / (vector_norm(x, dim=(-2, -1), keepdim=True) * _LARGEST_OVERSHOOT + 1e-6)
        tall = x.shape[-2] > x.shape[-1]
        if tall:
            x = x.transpose(-2, -1)
        for a, b, c in _POLAR_EXPRESS if self._switches.polar_express else _QUINTIC:
            square = x @ x.transpose(-2, -1)
            x = torch.baddbmm(x, b * square + c * (square @ square), x, beta=a)
        if tall:
            x = x.transpose(-2, -1)
        if self._switches.renormalization:
            norm = vector_norm(x.float(), dim=(-2, -1), keepdim=True)
            x = x * (math.sqrt(min(x.shape[-2:])) / norm.clamp_min(1e-6)).to(x.dtype)
        return x


def _with_equal_rows(x: Tensor) -> Tensor:
    whole = vector_norm(x.float(), dim=(-2, -1), keepdim=True) / math.sqrt(x.shape[-2])
    rows = vector_norm(x.float(), dim=-1, keepdim=True).clamp_min(1e-6)
    scale: Tensor = whole / rows
    return x * scale.to(x.dtype)


def _with_less_variance(x: Tensor, variance: Tensor, over: int) -> tuple[Tensor, Tensor]:
    """The update divided by the root of its running mean square along `over`, at its old norm; the new running mean."""
    square = x.square().mean(over, keepdim=True)
    variance = torch.lerp(square, variance, _VARIANCE_BETA)
    scale = variance.clamp_min(1e-10).rsqrt()
    norm = square.sum(dim=(-2, -1), keepdim=True).sqrt()
    scaled_norm = (square * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    return x * (scale * (norm / scaled_norm.clamp_min(1e-10))), variance
