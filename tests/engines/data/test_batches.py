"""Batches: the order of data is reproducible, for any batch size and start position."""

from array import array
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data.batches import Batches


def batches(tokens: int, context: int = 4, batch_size: int = 1, seed: int = 1337) -> Batches:
    return Batches(memoryview(array("H", range(tokens))), context, batch_size, seed)


def first_tokens(tokens: int, rows: int, start: int = 0, seed: int = 1337) -> list[int]:
    return [row[0] for row in batches(tokens, batch_size=rows, seed=seed).batch(start).rows()]


def test_the_order_of_a_seed_is_reproducible() -> None:
    """Recorded values: if they change, runs of earlier versions cannot be resumed or reproduced."""
    assert first_tokens(40, 10) == [36, 8, 4, 28, 16, 32, 24, 0, 20, 12]
    assert first_tokens(40, 10, start=10) == [32, 0, 28, 16, 20, 36, 8, 12, 4, 24]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 200), st.integers(1, 9), st.integers(1, 9), st.integers(0, 500))
def test_rows_do_not_depend_on_the_batch_size(tokens: int, one: int, other: int, position: int) -> None:
    by_one = [
        row for i in range(0, one * other, one) for row in batches(tokens, batch_size=one).batch(position + i).rows()
    ]
    by_other = [
        row
        for i in range(0, one * other, other)
        for row in batches(tokens, batch_size=other).batch(position + i).rows()
    ]
    assert by_one == by_other


@settings(deadline=None, max_examples=60)
@given(tokens=st.integers(2, 200), context=st.integers(1, 9), epoch=st.integers(0, 5))
def test_each_row_occurs_once_per_epoch(tokens: int, context: int, epoch: int) -> None:
    source = batches(tokens, context)
    starts = [source.batch(epoch * source.rows + place).rows()[0][0] for place in range(source.rows)]
    assert sorted(starts) == list(range(0, tokens, context))


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_a_stream_shorter_than_a_row_is_repeated(tokens: int) -> None:
    assert batches(tokens, context=7).batch(5).rows() == [[i % tokens for i in range(8)]]


def test_a_batch_may_span_two_epochs() -> None:
    assert first_tokens(40, 20) == first_tokens(40, 10) + first_tokens(40, 10, start=10)
    assert first_tokens(40, 10) != first_tokens(40, 10, start=10)


@given(tokens=st.integers(2, 300), context=st.integers(1, 20), seed=st.integers(0, 99))
def test_every_token_is_a_target_once_per_epoch(tokens: int, context: int, seed: int) -> None:
    order = batches(tokens, context, seed=seed)
    for epoch in range(2):
        targets = Counter(
            target for place in range(order.rows) for target in order.batch(epoch * order.rows + place).rows()[0][1:]
        )
        assert set(targets) == set(range(tokens))
        assert sum(targets.values()) - tokens < context  # the last row wraps around


def test_rows_have_equal_lengths_and_follow_the_stream() -> None:
    for row in batches(10, 4, 3).batch(0).rows():
        assert len(row) == 5 and all((a + 1) % 10 == b for a, b in pairwise(row))
    assert len(batches(2, 7).batch(0).rows()[0]) == 8  # a stream shorter than a row goes round


def test_a_batch_depends_on_seed_and_position_alone() -> None:
    one, other = batches(1000, 4, 8), batches(1000, 4, 8)
    later = [other.batch(position).rows() for position in (800, 3, 0, 800)]
    assert [one.batch(position).rows() for position in (800, 3, 0, 800)] == later and later[0] == later[3]
    assert batches(1000, 4, 8, seed=4).batch(0).rows() != one.batch(0).rows()
    assert one.batch(0).rows()[3:] == one.batch(3).rows()[:5]


def test_each_epoch_has_a_different_order() -> None:
    order = batches(400, 4, 100)
    first, second = order.batch(0).rows(), order.batch(100).rows()
    assert first != second and sorted(first) == sorted(second)
