"""Numbers in 8 bits: near enough, whatever their size, and products that are those of the rounded numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.tensor import fp8
from engines.tensor.fp8 import Scaled


@given(size=st.floats(-60, 60), dtype=st.sampled_from([torch.float32, torch.bfloat16]), seed=st.integers(0, 99))
def test_numbers_are_off_by_half_a_step_at_most_and_the_largest_is_near_the_largest_there_is(
    size: float, dtype: torch.dtype, seed: int
) -> None:
    matrix = (2.0**size * torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))).to(dtype)
    numbers, unit = fp8.scaled(matrix, fp8.largest(matrix))
    assert numbers.dtype == fp8.FINE and unit.dtype == torch.float32
    assert math.frexp(unit.item())[0] == 0.5  # a power of two
    assert 224 <= numbers.float().abs().max() <= 448
    exact = matrix.float()
    half_a_step = torch.maximum(exact.abs() / 16, unit * 2.0**-10)
    assert ((numbers.float() * unit - exact).abs() <= half_a_step).all()


def test_a_little_more_than_the_bound_is_the_largest_number() -> None:
    numbers, unit = fp8.scaled(torch.tensor([[1.03 * 7.0, -7.0]]), torch.tensor(7.0))
    assert (numbers.float() * unit).tolist() == [[7.0, -7.0]]


def test_a_matrix_of_zeros_stays_one() -> None:
    numbers, unit = fp8.scaled(torch.zeros(2, 2), torch.tensor(0.0))
    assert not numbers.float().any() and unit > 0


@pytest.mark.parametrize("dtype", [fp8.FINE, fp8.WIDE])
def test_a_product_is_that_of_the_rounded_numbers(dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(1)
    a = Scaled(torch.randn(48, 32, generator=random).to(dtype), torch.tensor(0.25))
    b = fp8.scaled(torch.randn(32, 64, generator=random), torch.tensor(6.0)).transposed()
    assert b.numbers.shape == (64, 32) and b.numbers.is_contiguous()
    expected = (0.25 * a.numbers.float()) @ (b.unit * b.numbers.float()).T
    torch.testing.assert_close(fp8.product(a, b, torch.float32), expected)
