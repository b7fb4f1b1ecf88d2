"""The loss from the last hidden states on: the fused forms against plain code in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.tensor import losses
from engines.tensor.losses import capped, head_nats


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
    monkeypatch.setattr(losses, "_LOGITS_AT_ONCE", 5 * 24)
    hidden, head = leaves(count, width=16, padded_size=24, dtype=dtype)
    exact = [leaf.detach().double().requires_grad_() for leaf in (hidden, head)]
    random = torch.Generator().manual_seed(6)
    targets = torch.randint(19, (count,), generator=random)
    weights = torch.randn(count, generator=random)

    expected = F.cross_entropy(capped((exact[0] @ exact[1].T)[:, :19], softcap), targets, reduction="none")
    found = head_nats(hidden, head, targets, softcap, 19)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    wanted = torch.autograd.grad((expected * weights).sum(), exact)
    for mine, its in zip(torch.autograd.grad((found * weights).sum(), (hidden, head)), wanted, strict=True):
        assert (mine.double() - its).norm() <= tolerance * its.norm()
    assert not wanted[1][19:].any()


def test_the_compiler_is_told_of_the_fused_form_what_it_does() -> None:
    hidden, head = leaves(7, width=16, padded_size=24, dtype=torch.float32)
    torch.library.opcheck(losses._fused, (hidden, head, torch.arange(7), 15.0, 19))


def normed_leaves(count: int, size: int, spread: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Hidden states (count, 64) behind an RMSNorm, and a head (size, 64) whose logits deviate by `spread`."""
    hidden, head = leaves(count, 64, size, dtype)
    normed = F.rms_norm(hidden.detach().float(), (64,)).to(dtype)
    return normed.requires_grad_(), (spread / 8 * head.detach()).requires_grad_()


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1.0, 4.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_in_8_bits_lose_no_more_than_rounding_their_factors_does(dtype: torch.dtype, spread: float) -> None:
    """Root mean squares: numbers of three bits are off by 2.5 % and those of two by 5 %, so a logit by 3.5 % of what
    logits deviate by; a gradient by less than 5.6 %, since what is largest in it is near -1, a number of 8 bits, and by
    what the error of its logits adds."""
    hidden, head = normed_leaves(320, 192, spread, dtype)
    exact = [leaf.detach().double().requires_grad_() for leaf in (hidden, head)]
    random = torch.Generator().manual_seed(6)
    targets = torch.randint(150, (320,), generator=random)
    weights = 1e-5 * torch.randn(320, generator=random)
    weights[:4] = 0.0

    expected = head_nats(*exact, targets, 15.0, 150)
    found = losses._fused_in_8_bits(hidden, head, targets, 15.0, 150)[0]
    assert (found - expected).square().mean().sqrt() <= 0.05 * spread + 1e-6
    assert abs((found - expected).mean()) <= 0.01 * spread + 1e-6
    wanted = torch.autograd.grad((expected * weights).sum(), exact)
    of_hidden, of_head = torch.autograd.grad((found * weights).sum(), (hidden, head))
    for mine, its in zip((of_hidden, of_head), wanted, strict=True):
        assert (mine.double() - its).norm() <= (0.04 + 0.005 * spread) * its.norm()
    assert not of_hidden[:4].any() and not of_head[150:].any()


def test_a_number_that_is_not_finite_is_not_hidden_by_8_bits() -> None:
    for place, number in ((0, math.nan), (1, math.nan), (1, math.inf)):
        parts = [part.detach() for part in normed_leaves(48, 64, 1.0, torch.bfloat16)]
        parts[place][3, 5] = number
        assert losses._fused_in_8_bits(*parts, torch.arange(48), 15.0, 64)[0].mean().isnan()


def test_a_processor_has_no_products_in_8_bits() -> None:
    hidden, head = normed_leaves(48, 64, 1.0, torch.float32)
    plain, asked = (head_nats(hidden, head, torch.arange(48), 15.0, 64, in_8_bits) for in_8_bits in (False, True))
    assert torch.equal(plain, asked)


def test_the_compiler_is_told_of_the_form_in_8_bits_what_it_does() -> None:
    """But for torch's other checks, which cannot compare or add such numbers."""
    hidden, head = normed_leaves(48, 64, 1.0, torch.float32)
    checks = "test_autograd_registration", "test_faketensor"
    torch.library.opcheck(losses._fused_in_8_bits, (hidden, head, torch.arange(48), 15.0, 50), test_utils=checks)

    def mean(hidden: Tensor, head: Tensor) -> Tensor:
        found: Tensor = losses._fused_in_8_bits(hidden, head, torch.arange(48), 15.0, 50)[0]
        return found.mean()

    compiled = torch.compile(mean, backend="aot_eager", fullgraph=True)
    wanted, found = (torch.autograd.grad(of(hidden, head), (hidden, head)) for of in (mean, compiled))
    assert all(map(torch.equal, wanted, found))
