"""Muon: momentum updates, orthogonalised (Jordan et al., 2024).

A flat buffer holds matrices of one shape, so that batched products update all of them. The parts, each with a setting:

- Polar Express (Amsel et al., arXiv 2505.16932): each of the five Newton-Schulz steps has coefficients of its own;
  otherwise Jordan's quintic is used five times.
- Row equilibration (MuonEq, arXiv 2603.28254): rows are scaled to one norm first, which conditions the matrix better.
- Renormalisation (Muon+, arXiv 2602.21545): the result is scaled to the norm of an orthogonal matrix.
- Variance reduction (NorMuon, arXiv 2510.05491): neurons whose updates were large take smaller ones.
- Cautious weight decay: only weights that the update moves towards zero decay.

Each function reads a matrix as few times as possible: norms of matrices are computed from those of their rows.

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
from engines.tensor.devices import DeviceConfig, accumulation_dtype
from engines.tensor.optim.flat_buffers import FlatBuffer
from engines.tensor.optim.optimizer import DeviceHyperparameters, copy_where

_POLAR_EXPRESS = (  # five steps with a safety factor of 0.02 (arXiv 2505.16932)
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
_JORDAN_QUINTIC = ((3.4445, -4.7750, 2.0315),) * 5
_VARIANCE_BETA = 0.9
_NORM_MARGIN = 1.01  # rounding may leave the largest singular value slightly above the norm


class MuonOptions(NamedTuple):
    """The parts that are enabled."""

    polar_express: bool
    row_equilibration: bool
    renormalization: bool
    variance_reduction: bool
    cautious_decay: bool

    @classmethod
    def from_settings(cls, settings: TrainSettings) -> "MuonOptions":
        return cls(*(getattr(settings, name) for name in cls._fields))


class Muon:
    """The update rule for a buffer of K (m, n) matrices. The learning rate of tall ones is sqrt(m / n) times higher."""

    def __init__(self, buffer: FlatBuffer, weight_decay: float, options: MuonOptions, config: DeviceConfig) -> None:
        """Products are computed in the dtype of `config`."""
        self.buffer = buffer
        self._options = options
        self._dtype = config.dtype
        weights = buffer.stack(buffer.weights)
        rows, columns = weights.shape[1:]
        self._momentum = torch.zeros_like(buffer.weights)
        # one value per neuron: neurons are along the longer side
        self._variance = weights.mean(-1 if rows >= columns else -2, keepdim=True).zero_()
        # tensors on the device: compiled code serves other values too, as a sweep may have
        values = math.sqrt(max(1.0, rows / columns)), weight_decay
        self._lr_multiplier, self._weight_decay = torch.tensor(
            values, dtype=accumulation_dtype(config.device), device=config.device
        ).unbind()
        is_compiled = config.is_compiled and not config.compiles_per_block  # eager code starts sooner, a little slower
        self._prepare: Callable[..., Tensor] = _compile(_momentum_update) if is_compiled else _momentum_update
        self._apply: Callable[..., None] = _compile(_apply_update) if is_compiled else _apply_update

    def update(self, hyperparameters: DeviceHyperparameters, is_valid: Tensor) -> None:
        buffer, options = self.buffer, self._options
        weights, gradients, momentum = map(buffer.stack, (buffer.weights, buffer.gradients, self._momentum))
        x = self._prepare(
            gradients, momentum, hyperparameters.momentum, is_valid, options.row_equilibration, self._dtype
        )
        x = _orthogonalize(x, _POLAR_EXPRESS if options.polar_express else _JORDAN_QUINTIC)
        lr = self._lr_multiplier * hyperparameters.lr
        decay = lr * self._weight_decay
        self._apply(weights, x, self._variance, lr, decay, hyperparameters.weight_decay_multiplier, is_valid, options)

    def state(self) -> dict[str, Tensor]:
        return {"momentum": self._momentum, "variance": self._variance}


@cache
def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of the update once, for buffers of all shapes and for all learners."""
    compiled = torch.compile(function, dynamic=True)

    def call(*inputs: Any) -> Any:
        # equal sizes are not assumed to be always equal: code for square matrices serves others
        with shapes.patch(use_duck_shape=False):  # type: ignore[attr-defined]
            return compiled(*inputs)

    return call


def _momentum_update(
    gradients: Tensor, momentum: Tensor, beta: Tensor, is_valid: Tensor, equilibrate_rows: bool, dtype: torch.dtype
) -> Tensor:
    """Update the momentum; return Nesterov's update, scaled so that no singular value exceeds one."""
    beta = beta.to(gradients.dtype)
    new_momentum = torch.lerp(gradients, momentum, beta)
    x = torch.lerp(gradients, new_momentum, beta).to(dtype)
    copy_where(is_valid, (momentum, new_momentum))
    row_norms: Tensor = vector_norm(x, dim=-1, keepdim=True, dtype=torch.promote_types(dtype, torch.float32))
    scale = _equilibrating_scale(row_norms) if equilibrate_rows else torch.ones_like(row_norms)
    norm: Tensor = vector_norm(row_norms * scale, dim=-2, keepdim=True)
    return x * (scale / (norm * _NORM_MARGIN + 1e-6)).to(dtype)


def _equilibrating_scale(row_norms: Tensor) -> Tensor:
    """Return the factors (K, m, 1) that scale rows of these norms to one norm."""
    scale: Tensor = row_norms.square().mean(-2, keepdim=True).sqrt() / row_norms.clamp_min(1e-6)
    return scale


def _orthogonalize(x: Tensor, steps: Sequence[tuple[float, float, float]]) -> Tensor:
    """Return approximately the nearest orthogonal matrix to each of x (K, m, n), by Newton-Schulz iterations."""
    is_tall = x.shape[-2] > x.shape[-1]
    for a, b, c in steps:
        square = x.mT @ x if is_tall else x @ x.mT  # (K, s, s) with s the shorter side
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, *((x, polynomial) if is_tall else (polynomial, x)), beta=a)
    return x


def _apply_update(
    weights: Tensor,
    x: Tensor,
    variance: Tensor,
    lr: Tensor,
    decay: Tensor,
    decay_multiplier: Tensor,
    is_valid: Tensor,
    options: MuonOptions,
) -> None:
    """Update the weights by the orthogonalised x, and decay them."""
    x = x.to(weights.dtype)
    squares = x.square().mean(-1 if variance.shape[-1] == 1 else -2, keepdim=True)  # per neuron
    scale = torch.ones_like(squares)
    if options.renormalization:
        # the mean squares of an orthogonal matrix's neurons add up to one
        scale = scale * squares.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-12).rsqrt()
        squares = squares * scale.square()
    if options.variance_reduction:
        variance_scale, new_variance = _reduce_variance(squares, variance)
        scale = scale * variance_scale
        copy_where(is_valid, (variance, new_variance))
    x = x * scale
    decaying = weights
    if options.cautious_decay:
        decaying = weights * (x * weights >= 0)
        decay = decay * decay_multiplier
    new_weights = torch.addcmul(weights, x, -lr.to(x.dtype))
    copy_where(is_valid, (weights, torch.addcmul(new_weights, decaying, -decay.to(x.dtype))))


def _reduce_variance(squares: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factors that even out the neurons' running mean squares and keep the norm of the matrix, and the new
    running means. `squares` are the neurons' mean squares of this update, `variance` their running means."""
    variance = torch.lerp(squares, variance, _VARIANCE_BETA)
    scale = variance.clamp_min(1e-10).rsqrt()
    norm = squares.sum(dim=(-2, -1), keepdim=True).sqrt()
    scaled_norm = (squares * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    return scale * (norm / scaled_norm.clamp_min(1e-10)), variance
