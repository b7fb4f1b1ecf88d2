"""Bounds and ticks of axes are few, round, and rarely change."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.chart import scales
from screens.chart.scales import YScale, fit_y_scale

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(1e-12, 1e12)


@given(st.floats(1e-9, 1e12))
def test_the_width_of_a_pixel_is_rounded_up_by_at_most_a_quarter(least: float) -> None:
    width = scales.round_up_per_pixel(least)
    assert least * (1 - 1e-9) <= width <= least * 1.2500001
    assert scales.round_up_per_pixel(width) == width
    assert scales.round_up_per_pixel(2 * width) == 2 * width  # doubled, a round width is round too


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e9), st.integers(1, 20))
def test_ticks_are_few_evenly_spaced_and_inside_the_bounds(low: float, length: float, most: int) -> None:
    high = low + length
    ticks = scales.nice_ticks(low, high, most)
    assert len(ticks) <= most + 1
    slack = (high - low) * 1e-6
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    gaps = [after - before for before, after in pairwise(ticks)]
    assert all(math.isclose(gap, gaps[0], rel_tol=1e-3) for gap in gaps)


@given(NUMBERS, NUMBERS)
def test_scales_of_any_two_numbers_are_monotonic(one: float, other: float) -> None:
    low, high = sorted((one, other))
    scale = fit_y_scale(low, high, log=False)
    assert scale.low < scale.high
    assert 0 <= scale.place(high, 160) <= scale.place(low, 160) < 160
    scales.labels(scale.ticks(5))


@given(POSITIVE, POSITIVE, st.integers(1, 10))
def test_a_log_scale_contains_its_values_and_labels_its_ticks(one: float, other: float, most: int) -> None:
    low, high = sorted((one, other))
    scale = fit_y_scale(low, high, log=True)
    assert scale.low <= math.log10(low) <= math.log10(high) <= scale.high
    ticks = scale.ticks(most)
    assert len(ticks) <= most + 1
    assert all(tick > 0 for tick in ticks)
    assert len(scales.labels(ticks)) == len(ticks)


def test_values_outside_a_scale_are_placed_at_its_edges() -> None:
    scale = YScale(0.0, 1e-300)
    assert scale.place(1e308, 160) == 0
    assert scale.place(-1e308, 160) == 159


def test_bounds_do_not_change_while_the_values_fill_them() -> None:
    first = fit_y_scale(2.0, 3.4, log=False)
    assert fit_y_scale(2.1, 3.3, log=False, before=first) is first
    assert fit_y_scale(2.1, 2.3, log=False, before=first) != first
    assert fit_y_scale(1.0, 3.4, log=False, before=first) != first
    assert fit_y_scale(2.0, 3.4, log=True, before=first).log


@pytest.mark.parametrize(
    "low, high, ticks",
    [(0, 1000, [0, 250, 500, 750, 1000]), (1.8, 4.2, [2, 3, 4]), (0, 7, [0, 2, 4, 6]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_of_typical_bounds(low: float, high: float, ticks: list[float]) -> None:
    assert scales.nice_ticks(low, high, 4) == ticks


def test_a_log_scale_over_decades_has_ticks_at_powers_of_ten() -> None:
    assert YScale(-2.0, 3.0, log=True).ticks(6) == pytest.approx([0.01, 0.1, 1, 10, 100, 1000])


def test_ticks_of_time_are_round_in_minutes_and_hours() -> None:
    assert scales.compute_time_ticks(0, 90, 6) == [0, 15, 30, 45, 60, 75, 90]
    assert scales.format_times([0.5, 45, 150, 3723]) == ["0.5s", "45s", "2:30", "1:02:03"]


def test_labels_are_short_and_distinct() -> None:
    assert scales.labels([0, 250, 1250, 2.5e6, 0.001, 1e300]) == ["0", "250", "1.25k", "2.5M", "0.001", "1e300"]
    assert scales.labels([1_234_100, 1_234_200]) == ["1234100", "1234200"]
