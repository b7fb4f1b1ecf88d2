"""The pyramid returns the same statistics as a scan of all values."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.chart.pyramid import FAN, Pyramid

LOSSES = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf])
BATCHES = st.lists(st.lists(LOSSES, max_size=70), max_size=8)


def pyramid_of(*batches: list[float]) -> Pyramid:
    pyramid = Pyramid()
    for batch in batches:
        pyramid.extend(batch)
    return pyramid


def assert_answers_as_the_values(pyramid: Pyramid, values: list[float], start: int, stop: int) -> None:
    part = values[start:stop]
    finite = [value for value in part if math.isfinite(value)]
    span = pyramid.span(start, stop)
    assert span.low == min(finite, default=math.inf)
    assert span.high == max(finite, default=-math.inf)
    assert (span.finite, span.nonfinite) == (len(finite), len(part) - len(finite))
    if finite:
        assert math.isclose(span.mean, math.fsum(finite) / len(finite), rel_tol=1e-9, abs_tol=1e-6)


@given(BATCHES, st.data())
def test_every_part_has_the_minimum_maximum_mean_and_counts_of_its_values(
    batches: list[list[float]], data: st.DataObject
) -> None:
    values = [value for batch in batches for value in batch]
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    assert_answers_as_the_values(pyramid_of(*batches), values, start, stop)


@given(BATCHES, BATCHES, st.data())
def test_values_after_a_truncation_replace_the_removed_ones(
    before: list[list[float]], after: list[list[float]], data: st.DataObject
) -> None:
    old = [value for batch in before for value in batch]
    kept = data.draw(st.integers(0, len(old)))
    pyramid = pyramid_of(*before)
    pyramid.truncate(kept)
    for batch in after:
        pyramid.extend(batch)
    values = old[:kept] + [value for batch in after for value in batch]
    assert len(pyramid) == len(values)
    start = data.draw(st.integers(0, len(values)))
    assert_answers_as_the_values(pyramid, values, start, data.draw(st.integers(start, len(values))))


@pytest.mark.parametrize("place", [0, 123_456, 999_998, 999_999])
def test_a_spike_among_a_million_values_is_in_every_part_that_contains_it(place: int) -> None:
    values = array("d", [2.0]) * 1_000_000
    values[place] = 9.0
    pyramid = pyramid_of(values.tolist())
    for width in (1, FAN, 4_167, 1_000_000):
        start = place // width * width
        assert pyramid.span(start, start + width).high == 9.0
        assert pyramid.span(start + width, start + 2 * width).high != 9.0


def test_a_value_whose_sum_overflows_leaves_the_other_parts_exact() -> None:
    pyramid = pyramid_of([1e308] * 8 + [2.0] * 8)
    assert pyramid.span(8, 16).mean == 2.0
    assert pyramid.span(0, 8).mean == 1e308


def test_parts_outside_the_data_are_empty() -> None:
    pyramid = pyramid_of([1.0, 2.0])
    assert pyramid.span(-5, 0).finite == 0
    assert pyramid.span(2, 9).finite == 0
    assert pyramid.span(-5, 9).finite == 2
