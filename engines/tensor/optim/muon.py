"""Muon: momentum whose matrices are made orthogonal before they are added (Jordan and others, 2024).

A bank holds matrices of one shape, so that one batched product serves them all. The parts, each with a switch:

- Polar Express (Amsel and others, arXiv 2505.16932): the five steps towards the nearest orthogonal matrix have
  coefficients of their own; without, one quintic (Jordan) is used five times.
- Row equilibration (MuonEq, arXiv 2603.28254): rows get the same norm first, which conditions the matrix better.
- Renormalization (Muon+, arXiv 2602.21545): the result gets the norm that an orthogonal matrix has.
- Variance reduction (NorMuon, arXiv 2510.05491): neurons whose updates were large take smaller ones.
- Cautious decay: only weights that the update moves towards zero decay, less and less over the run.

The products are a library's. All before them and all after them is a function of tensors, in which a matrix is read as
few times as can be: its norms follow from those of its rows, or of its neurons.

The order of the parts and their constants follow karpathy/nanochat (nanochat/optim.py at 92d63d4).
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx.experimental import _config as shapes
from torch.linalg import vector_norm

from engines.settings.train import TrainSettings
from engines.tensor.devices import Place, exact_dtype
from engines.tensor.optim.flat_buffers import Bank
from engines.tensor.optim.optimizer import Pace, keep

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

    def __init__(self, bank: Bank, weight_decay: float, switches: MuonSwitches, where: Place) -> None:
        """The products have the precision of `where`, which is bfloat16 where that is fast."""
        self.bank = bank
        self._switches = switches
        self._dtype = where.dtype
        weights = bank.stacked(bank.weights)
        rows, columns = weights.shape[1:]
        self._momentum = torch.zeros_like(bank.weights)
        # a number for each neuron, of which there are as many as the longer side has
        self._variance = weights.mean(-1 if rows >= columns else -2, keepdim=True).zero_()
        # on the device, as a sweep may vary them: code that was compiled with some serves others
        numbers = math.sqrt(max(1.0, rows / columns)), weight_decay
        self._scale, self._decay = torch.tensor(numbers, dtype=exact_dtype(where.device), device=where.device).unbind()
        compiled = where.compiled and not where.in_regions  # as it is, it is ready sooner and a little slower
        self._begin: Callable[..., Tensor] = _compiled(_begun) if compiled else _begun
        self._end: Callable[..., None] = _compiled(_moved) if compiled else _moved

    def update(self, pace: Pace, good: Tensor) -> None:
        weights, gradients, momentum = map(self.bank.stacked, (self.bank.weights, self.bank.gradients, self._momentum))
        x = self._begin(gradients, momentum, pace.momentum, good, self._switches.row_equilibration, self._dtype)
        x = _orthogonal(x, _POLAR_EXPRESS if self._switches.polar_express else _QUINTIC)
        lr = self._scale * pace.lr
        self._end(weights, x, self._variance, lr, lr * self._decay, pace.decay, good, self._switches)

    def kept(self) -> dict[str, Tensor]:
        return {"momentum": self._momentum, "variance": self._variance}


@cache
def _compiled(half: Callable[..., Any]) -> Callable[..., Any]:
    """A half of the update, compiled once for the banks of all shapes, and for all learners."""
    compiled = torch.compile(half, dynamic=True)

    def call(*inputs: Any) -> Any:
        # sizes that happen to be equal are not taken to be always: what square matrices get serves others
        with shapes.patch(use_duck_shape=False):  # type: ignore[attr-defined]
            return compiled(*inputs)

    return call


def _begun(
    gradients: Tensor, momentum: Tensor, beta: Tensor, good: Tensor, equal_rows: bool, dtype: torch.dtype
) -> Tensor:
    """What comes before the products: Nesterov's momentum, with singular values of one at most."""
    beta = beta.to(gradients.dtype)
    new_momentum = torch.lerp(gradients, momentum, beta)
    x = torch.lerp(gradients, new_momentum, beta).to(dtype)
    keep(good, (momentum, new_momentum))
    rows: Tensor = vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(dtype, torch.float32))
    scale = _to_one_norm(rows) if equal_rows else torch.ones_like(rows)
    norm: Tensor = vector_norm(rows * scale, dim=-2, keepdim=True)
    return x * (scale / (norm * _LARGEST_OVERSHOOT + 1e-6)).to(dtype)


def _to_one_norm(rows: Tensor) -> Tensor:
    """What rows of such norms (K, m, 1) are to be multiplied by."""
    scale: Tensor = rows.square().mean(-2, keepdim=True).sqrt() / rows.clamp_min(1e-6)
    return scale


def _orthogonal(x: Tensor, steps: Sequence[tuple[float, float, float]]) -> Tensor:
    """About the nearest orthogonal matrix to each of (K, m, n)."""
    tall = x.shape[-2] > x.shape[-1]
    for a, b, c in steps:
        square = x.mT @ x if tall else x @ x.mT  # of the shorter side
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, *((x, polynomial) if tall else (polynomial, x)), beta=a)
    return x


def _moved(
    weights: Tensor,
    x: Tensor,
    variance: Tensor,
    lr: Tensor,
    decay: Tensor,
    decay_left: Tensor,
    good: Tensor,
    switches: MuonSwitches,
) -> None:
    """What comes after the products: the weights move along x, and decay."""
    x = x.to(weights.dtype)
    squares = x.square().mean(-1 if variance.shape[-1] == 1 else -2, keepdim=True)  # of neurons
    if switches.renormalization:
        # along the longer side of an orthogonal matrix, the mean squares add up to one
        scale = squares.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-12).rsqrt()
        x, squares = x * scale, squares * scale.square()
    if switches.variance_reduction:
        scale, new_variance = _with_less_variance(squares, variance)
        x = x * scale
        keep(good, (variance, new_variance))
    decaying = weights
    if switches.cautious_decay:
        decaying = weights * (x * weights >= 0)
        decay = decay * decay_left
    keep(good, (weights, weights - lr * x - decay * decaying))


def _with_less_variance(squares: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """What neurons of such mean squares are to be multiplied by, so that their running means even out and the norm of
    all stays; the new running means."""
    variance = torch.lerp(squares, variance, _VARIANCE_BETA)
    scale = variance.clamp_min(1e-10).rsqrt()
    norm = squares.sum(dim=(-2, -1), keepdim=True).sqrt()
    scaled_norm = (squares * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    return scale * (norm / scaled_norm.clamp_min(1e-10)), variance
