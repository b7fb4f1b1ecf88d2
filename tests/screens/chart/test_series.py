"""Lines in columns, their moving average, dots, axes and marks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screens.chart.series import DotSeries, GroupAxes, LineSeries, StepMarks

VALUES = st.lists(st.floats(0, 10) | st.just(math.nan), min_size=1, max_size=60)


def line_of(values: list[float], first: int = 1) -> LineSeries:
    line = LineSeries("loss", "loss", "series-1", True, "")
    line.extend(first, values)
    return line


def test_repeated_steps_are_replaced_and_missing_steps_have_no_value() -> None:
    line = line_of([1.0, 2.0, 3.0])
    line.extend(2, [5.0])
    assert line.pyramid.values.tolist() == [1.0, 5.0]
    line.extend(5, [6.0])
    assert line.last == 5
    assert [math.isnan(value) for value in line.pyramid.values] == [False, False, True, True, False]
    assert line.count_nonfinite(1, 6) == 0
    line.truncate(3)
    line.extend(4, [math.nan])
    assert line.count_nonfinite(1, 6) == 1  # step 3 is missing, step 4 is NaN
    assert line.value(9) is None


@given(st.lists(VALUES, min_size=1, max_size=6), st.integers(1, 12))
def test_columns_of_a_growing_line_equal_those_of_a_whole_line(batches: list[list[float]], per_column: int) -> None:
    edges = list(range(0, 400, per_column))
    grown = line_of([])
    grown.first = 1
    for batch in batches:
        grown.extend(grown.last + 1, batch)
        grown.columns(edges)
    assert grown.columns(edges) == line_of([value for batch in batches for value in batch]).columns(edges)


@given(VALUES, st.integers(0, 60))
def test_columns_after_a_truncation_are_those_of_the_remaining_steps(values: list[float], kept: int) -> None:
    edges = list(range(0, 80, 3))
    line = line_of(values)
    line.columns(edges)
    line.truncate(kept)
    assert line.columns(edges) == line_of(values[:kept]).columns(edges)


def test_a_finite_value_between_two_nans_is_an_isolated_point() -> None:
    points = line_of([1.0, math.nan, 2.0, math.nan, 3.0]).columns(list(range(1, 7)))
    assert [(point.pixel, point.low, point.broken) for point in points] == [
        (0, 1.0, False),
        (2, 2.0, True),
        (4, 3.0, True),
    ]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.sampled_from([0.6, 0.9, 0.98]))
def test_points_of_single_steps_have_the_debiased_moving_average(values: list[float], factor: float) -> None:
    line = line_of(values)
    points = line.columns(list(range(1, len(values) + 2)))
    average = weight = 0.0
    expected = []
    for value in values:
        average, weight = factor * average + (1 - factor) * value, factor * weight + 1 - factor
        expected.append(average / weight)
    assert line.smooth(points, 1, factor) == pytest.approx(expected)
    assert line.smoothed_value(len(values), factor) == pytest.approx(expected[-1], rel=1e-5, abs=1e-5)


def test_the_average_of_a_constant_is_the_constant_at_every_zoom_level() -> None:
    line = line_of([2.5] * 10_000)
    for per_column in (1, 7, 500):
        points = line.columns(list(range(3_001, 10_001, per_column)))
        assert line.smooth(points, 3_001, 0.98) == pytest.approx([2.5] * len(points))


def test_dots_are_sorted_with_at_most_one_per_step() -> None:
    dots = DotSeries("val", "val", "series-2", "")
    for step, value in ((20, 2.0), (0, 3.0), (10, 2.5), (10, 2.4)):
        dots.add(step, value)
    assert dots.between(0, 100) == [(0, 3.0), (10, 2.4), (20, 2.0)]
    assert dots.value(15) == 2.4
    dots.truncate(10)
    assert dots.between(0, 100) == [(0, 3.0), (10, 2.4)]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0, 120))
def test_the_first_step_at_an_x_is_the_first_at_or_after_it(clock: list[float], x: float) -> None:
    axes = GroupAxes()
    axes.set_values("time", 1, sorted(clock))
    step = axes.first_step_at("time", x)
    assert step > len(clock) or axes.x_of("time", step) >= x
    assert step <= 1 or axes.x_of("time", step - 1) < x


def test_an_axis_never_decreases_and_continues_after_a_truncation() -> None:
    axes = GroupAxes()
    axes.set_values("time", 1, [1.0, 3.0, 2.0, math.nan])
    assert [axes.x_of("time", step) for step in range(5)] == [0.0, 1.0, 3.0, 3.0, 3.0]
    axes.truncate(1)
    axes.set_values("time", 2, [1.5])
    assert axes.x_of("time", 2) == 1.5
    assert not axes.has_values("tokens")


def test_an_axis_without_values_has_all_steps_at_one_x() -> None:
    axes = GroupAxes()
    axes.set_values("time", 1, [1.0])
    axes.truncate(0)
    assert not axes.has_values("time")
    assert axes.x_of("time", 5) == axes.x_of("tokens", 5) == 0.0


def test_marks_are_found_by_step_level_and_group() -> None:
    marks = StepMarks()
    marks.add(20, "error", "nonfinite")
    marks.add(10, "warn", "spike")
    assert marks.first_between("", "warn", 0, 15) == "spike"
    assert marks.first_between("", "error", 0, 15) is None
    assert marks.first_between("other", "warn", 0, 15) is None
    assert marks.last_step("") == 20
    with pytest.raises(ValueError, match="'fatal' is not one of"):
        marks.add(1, "fatal", "")
