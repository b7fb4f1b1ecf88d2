"""Numbers in 8 bits and their products, which Ada, Hopper and later GPUs work out twice as fast as those of bfloat16.

Each matrix is rounded in a unit of its own, chosen so that its largest number is near the largest that such floats
hold. Units are powers of two: dividing by one rounds nothing yet, not even in bfloat16. Everything also runs on a
processor, where tests hold it against exact numbers, and nothing waits for the device.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

FINE = torch.float8_e4m3fn  # three bits behind the leading one, from 2^-6 on: values and weights
WIDE = torch.float8_e5m2  # two bits, from 2^-14 on: gradients by logits, most of which are small
_LARGEST_FINE = 448.0
_ALMOST_NOTHING = 1e-30  # a bound of zero would make the unit zero


class Scaled(NamedTuple):
    """A matrix (R, K) in 8 bits, a row's numbers side by side, and its unit, a scalar in float32."""

    numbers: Tensor
    unit: Tensor

    def transposed(self) -> "Scaled":
        """Laid out anew (K, R): products read both of their factors along what they sum over."""
        return Scaled(self.numbers.T.contiguous(), self.unit)


def scaled(matrix: Tensor, bound: Tensor) -> Scaled:
    """Rounded finely. `bound`, a scalar, is what no number of the matrix exceeds by more than 3 %: that much more still
    rounds to the largest."""
    unit = torch.exp2(torch.ceil(torch.log2(bound.float().clamp_min(_ALMOST_NOTHING) / _LARGEST_FINE)))
    return Scaled((matrix / unit).to(FINE), unit)


def largest(matrix: Tensor) -> Tensor:
    """The largest magnitude in it, a scalar."""
    norm: Tensor = torch.linalg.vector_norm(matrix, math.inf)
    return norm


def product(a: Scaled, b: Scaled, dtype: torch.dtype, fast: bool = False) -> Tensor:
    """a (M, K) times the transposed b (N, K). Sums that are `fast` keep fewer bits on the way."""
    return torch._scaled_mm(
        a.numbers, b.numbers.T, scale_a=a.unit, scale_b=b.unit, out_dtype=dtype, use_fast_accum=fast
    )
