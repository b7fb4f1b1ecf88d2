"""Attention by matrix products, compared with torch's attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.tensor.models.cpu_attention import attend

HEADS = 4


def random_inputs(length: int, keys: int, kv_heads: int) -> list[Tensor]:
    """Return q, k, v and a gradient of the output, in the layout that projections have."""
    random = torch.Generator().manual_seed(length)
    shapes = [(2, length, HEADS, 8), (2, keys, kv_heads, 8), (2, keys, kv_heads, 8), (2, length, HEADS, 8)]
    return [torch.randn(shape, generator=random, dtype=torch.float64).transpose(1, 2) for shape in shapes]


def random_mask(kind: str, length: int, keys: int) -> Tensor | None:
    """Return a mask in which every query sees a key."""
    if kind == "causal":
        return None
    random = torch.Generator().manual_seed(keys)
    mask = torch.rand((2, 1, length, keys) if kind == "document" else (length, keys), generator=random) < 0.5
    return mask | (torch.arange(keys) == 0)


@pytest.mark.parametrize("max_scores", [10**6, 100, 7], ids=["one block", "blocks", "single queries"])
@pytest.mark.parametrize("kv_heads", [HEADS, 2, 1])
@pytest.mark.parametrize(("kind", "length", "keys"), [("causal", 20, 20), ("window", 9, 18), ("document", 13, 13)])
def test_attention_and_its_gradients_equal_those_of_torch(
    kind: str, length: int, keys: int, kv_heads: int, max_scores: int
) -> None:
    *inputs, gradient = random_inputs(length, keys, kv_heads)
    mask = random_mask(kind, length, keys)
    for tensor in inputs:
        tensor.requires_grad_()
    q, k, v = inputs
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
    found = attend(q, k, v, mask, max_scores)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    tolerance = 1e-12 if max_scores == 10**6 else 1e-5  # sums over blocks are in float32
    for mine, its in zip(
        torch.autograd.grad(found, inputs, gradient), torch.autograd.grad(expected, inputs, gradient), strict=True
    ):
        torch.testing.assert_close(mine, its, rtol=0, atol=tolerance)


def test_attention_in_bfloat16_is_close_to_that_in_float64() -> None:
    *inputs, gradient = random_inputs(64, 64, 2)
    exact = attend(*(tensor.requires_grad_() for tensor in inputs), None)
    expected = [exact, *torch.autograd.grad(exact, inputs, gradient)]
    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in inputs]
    output = attend(*rounded, None)
    found = [output, *torch.autograd.grad(output, rounded, gradient.bfloat16())]
    for mine, its in zip(found, expected, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.double() - its).norm() < 0.01 * its.norm()
