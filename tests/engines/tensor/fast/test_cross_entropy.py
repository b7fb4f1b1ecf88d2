"""The loss from the last hidden states on: the fused forms against plain code in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.tensor.fast import cross_entropy as losses
from engines.tensor.fast.cross_entropy import fused_cross_entropy
from engines.tensor.models.layers import tanh_softcap


def leaves(count: int, width: int, padded_size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    hidden = torch.randn(count, width, generator=random)
    head = torch.randn(padded_size, width, generator=random)
    return hidden.to(dtype).requires_grad_(), head.to(dtype).requires_grad_()


@pytest.mark.parametrize("softcap", [0.0, 15.0, 300.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("count", [1, 23])
def test_losses_and_gradients_by_portions_are_those_of_the_formula(
    count: int, dtype: torch.dtype, tolerance: float, softcap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each loss with a weight of its own; the head's rows beyond the vocabulary get no gradient."""
    monkeypatch.setattr(losses, "_LOGITS_PER_CHUNK", 5 * 24)
    hidden, head = leaves(count, width=16, padded_size=24, dtype=dtype)
    exact = [leaf.detach().double().requires_grad_() for leaf in (hidden, head)]
    random = torch.Generator().manual_seed(6)
    targets = torch.randint(19, (count,), generator=random)
    weights = torch.randn(count, generator=random)

    expected = F.cross_entropy(tanh_softcap((exact[0] @ exact[1].T)[:, :19], softcap), targets, reduction="none")
    found = fused_cross_entropy(hidden, head, targets, softcap, 19)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), exact)
    for mine, its in zip(torch.autograd.grad((found * weights).sum(), (hidden, head)), expected_gradients, strict=True):
        assert (mine.double() - its).norm() <= tolerance * its.norm()
    assert not expected_gradients[1][19:].any()


def test_the_fused_form_is_registered_with_the_compiler() -> None:
    hidden, head = leaves(7, width=16, padded_size=24, dtype=torch.float32)
    torch.library.opcheck(losses._losses_and_gradients, (hidden, head, torch.arange(7), 15.0, 19))
