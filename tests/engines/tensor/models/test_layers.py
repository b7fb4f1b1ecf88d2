"""Functions with hand-written gradients, compared with torch and with finite differences."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.tensor.models.layers import relu2, rms_norm

EPS = 1e-3
PAIRS = [
    (lambda x: rms_norm(x, EPS), lambda x: F.rms_norm(x, (x.shape[-1],), eps=EPS)),
    (relu2, lambda x: F.relu(x).square()),
]
Formula = Callable[[Tensor], Tensor]


def random_input(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    x, gradient = torch.randn(2, 5, 7, 16, generator=random).to(dtype).unbind()
    x[0, 0] = 0.0
    return x.requires_grad_(), gradient


@pytest.mark.parametrize(("ours", "reference"), PAIRS, ids=["rmsnorm", "relu2"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 0.02)]
)
def test_values_and_gradients_equal_those_of_torch(
    ours: Formula, reference: Formula, dtype: torch.dtype, tolerance: float
) -> None:
    x, gradient = random_input(dtype)
    exact = x.detach().double().requires_grad_()
    found, expected = ours(x), reference(exact)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    (mine,) = torch.autograd.grad(found, x, gradient)
    (its,) = torch.autograd.grad(expected, exact, gradient.double())
    assert mine.dtype == dtype
    torch.testing.assert_close(mine.double(), its, rtol=tolerance, atol=tolerance * float(its.abs().max()))


@pytest.mark.parametrize("formula", [lambda x: rms_norm(x, EPS), relu2], ids=["rmsnorm", "relu2"])
def test_gradients_equal_finite_differences(formula: Formula) -> None:
    x = random_input(torch.float64)[0][:2, :3].detach().requires_grad_()
    shifted = (x.detach() + 0.01).requires_grad_()  # away from 0, where relu2's second derivative jumps
    assert torch.autograd.gradcheck(formula, (shifted,))
