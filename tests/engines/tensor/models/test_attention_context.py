"""Masks of windows and documents, compared with a loop over positions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import gpt_settings
from torch import Tensor

from engines.data.tokenizers import BOS
from engines.tensor.models.attention_context import FullSequence

HEADS = 4


@settings(deadline=None, max_examples=100)
@given(
    rows=st.integers(1, 8).flatmap(
        lambda length: st.lists(st.lists(st.integers(0, 3), min_size=length, max_size=length), min_size=1, max_size=3)
    ),
    window=st.integers(0, 8),
    document_mask=st.booleans(),
    kv_heads=st.sampled_from([1, 2, 4]),
    min_chunked_window=st.sampled_from([1, 99]),
    seed=st.integers(0, 99),
)
def test_attention_equals_a_loop_over_positions(
    rows: list[list[int]], window: int, document_mask: bool, kv_heads: int, min_chunked_window: int, seed: int
) -> None:
    context = FullSequence(
        gpt_settings(document_mask=document_mask, kv_heads=kv_heads), torch.tensor(rows), min_chunked_window
    )
    random = torch.Generator().manual_seed(seed)
    shapes = [(len(rows), heads, len(rows[0]), 6) for heads in (HEADS, kv_heads, kv_heads)]
    q, k, v = (torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes)
    found = context.attend(0, q, k, v, window)
    for b, row in enumerate(rows):
        for t in range(len(row)):
            seen = [s for s in range(t + 1) if t - s < (window or len(row))]
            if document_mask:
                seen = [s for s in seen if BOS not in row[s + 1 : t + 1]]
            for head in range(HEADS):
                own = head * kv_heads // HEADS
                expected = plain_attention(q[b, head, t], k[b, own, seen], v[b, own, seen])
                torch.testing.assert_close(found[b, head, t], expected, rtol=0, atol=1e-12)


def plain_attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (keys @ query / math.sqrt(len(query))).softmax(0) @ values


@pytest.mark.parametrize(("length", "window"), [(128, 32), (64, 64), (100, 32)])
@pytest.mark.parametrize("kv_heads", [2, HEADS])
def test_chunked_attention_and_its_gradients_equal_masked_attention(length: int, window: int, kv_heads: int) -> None:
    random = torch.Generator().manual_seed(length)
    shapes = [(2, length, heads, 8) for heads in (HEADS, kv_heads, kv_heads)]
    inputs = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]
    output_gradient = torch.randn(2, HEADS, length, 8, generator=random, dtype=torch.float64)
    results = []
    for min_chunked_window in (1, 99):
        context = FullSequence(
            gpt_settings(kv_heads=kv_heads), torch.ones(2, length, dtype=torch.long), min_chunked_window
        )
        parts = [part.clone().requires_grad_() for part in inputs]
        found = context.attend(0, *(part.transpose(1, 2) for part in parts), window)
        results.append([found, *torch.autograd.grad(found, parts, output_gradient)])
    for chunked, masked in zip(*results, strict=True):
        torch.testing.assert_close(chunked, masked, rtol=0, atol=1e-12)


def test_layers_with_different_windows_use_different_masks() -> None:
    context = FullSequence(gpt_settings(), torch.ones(1, 6, dtype=torch.long))
    random = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, HEADS, 6, 4, generator=random, dtype=torch.float64) for _ in range(3))
    first = [context.attend(layer, q, k, v, window) for layer, window in enumerate((2, 3, 0))]
    second = [context.attend(layer, q, k, v, window) for layer, window in enumerate((2, 3, 0))]
    assert all(map(torch.equal, first, second))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[1], first[2])


def test_the_embedding_before_the_start_of_a_document_is_zero() -> None:
    x = torch.arange(1.0, 9.0).view(1, 4, 2)
    tokens = torch.tensor([[5, 6, BOS, 7]])
    before = {mask: FullSequence(gpt_settings(document_mask=mask), tokens).previous(x) for mask in (False, True)}
    assert before[False].tolist() == [[[0, 0], [1, 2], [3, 4], [5, 6]]]
    assert before[True].tolist() == [[[0, 0], [1, 2], [0, 0], [5, 6]]]
