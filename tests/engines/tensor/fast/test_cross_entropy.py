"""The fused loss of hidden states and its gradients, compared with plain formulas in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.tensor.fast.cross_entropy import cpu_losses_and_gradients, fused_cross_entropy
from engines.tensor.models.layers import tanh_softcap

VOCAB_SIZE, PADDED_SIZE = 19, 24


def random_leaves(count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return hidden states (count, 16) and the weights of a head that require gradients."""
    random = torch.Generator().manual_seed(5)
    hidden = torch.randn(count, 16, generator=random)
    head = torch.randn(PADDED_SIZE, 16, generator=random)
    return hidden.to(dtype).requires_grad_(), head.to(dtype).requires_grad_()


def random_targets(count: int) -> Tensor:
    return torch.randint(VOCAB_SIZE, (count,), generator=torch.Generator().manual_seed(6))


def compute_plain_losses(logits: Tensor, targets: Tensor, softcap: float) -> Tensor:
    return F.cross_entropy(tanh_softcap(logits[:, :VOCAB_SIZE], softcap), targets, reduction="none")


every_softcap = pytest.mark.parametrize("softcap", [0.0, 15.0, 300.0])
every_dtype = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
every_count = pytest.mark.parametrize("count", [1, 23])


@every_softcap
@every_dtype
@every_count
def test_the_fused_loss_and_its_gradients_equal_the_formula(
    count: int, dtype: torch.dtype, tolerance: float, softcap: float
) -> None:
    """Losses have different weights. Rows of the head beyond the vocabulary have no gradient."""
    leaves, targets = random_leaves(count, dtype), random_targets(count)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    weights = torch.randn(count, generator=torch.Generator().manual_seed(7))

    expected = compute_plain_losses(exact[0] @ exact[1].T, targets, softcap)
    losses = fused_cross_entropy(*leaves, targets, softcap, VOCAB_SIZE)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses.double(), expected, rtol=tolerance, atol=tolerance)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), exact)
    gradients = torch.autograd.grad((losses * weights).sum(), leaves)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert (gradient.double() - expected_gradient).norm() <= tolerance * expected_gradient.norm()
    assert not gradients[1][VOCAB_SIZE:].any()


@every_softcap
@every_dtype
@every_count
@pytest.mark.parametrize("rows_per_chunk", [1, 5])
def test_chunked_losses_and_gradients_equal_the_formula(
    rows_per_chunk: int, count: int, dtype: torch.dtype, tolerance: float, softcap: float
) -> None:
    hidden, head = random_leaves(count, dtype)
    logits, targets = (hidden @ head.T).detach(), random_targets(count)
    exact = logits.double().requires_grad_()
    expected = compute_plain_losses(exact, targets, softcap)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), exact)
    losses = cpu_losses_and_gradients(logits, targets, softcap, VOCAB_SIZE, rows_per_chunk * PADDED_SIZE)
    torch.testing.assert_close(losses.double(), expected, rtol=tolerance, atol=tolerance)
    assert (logits.double() - expected_gradient).norm() <= tolerance * expected_gradient.norm()
    assert not logits[:, VOCAB_SIZE:].any()


def test_the_fused_loss_is_registered_with_the_compiler() -> None:
    hidden, head = random_leaves(7, torch.float32)
    operator = torch.ops.nanochat_tui.cross_entropy.default
    torch.library.opcheck(operator, (hidden, head, torch.arange(7), 15.0, VOCAB_SIZE))
