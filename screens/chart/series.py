"""The series of a chart: dense lines, sparse dots, reference levels and marks. Each group has x axes of its own."""

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from screens.chart.pyramid import Pyramid

STEP = "step"  # the axis that every group has
MARK_LEVELS = ("error", "warn")  # the more severe first
_NEGLIGIBLE_WEIGHT = 1e-6  # values with less weight than this are left out of the moving average


class GroupAxes:
    """The x values of a group's steps, by axis. The axis `step` needs no values."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[int, array[float]]] = {}  # axis -> first step, values that never fall
        self._rates: dict[str, float] = {}  # axis -> increase per step

    def has_values(self, axis: str) -> bool:
        return axis == STEP or axis in self._rates or bool(axis in self._columns and self._columns[axis][1])

    def set_rate(self, axis: str, per_step: float) -> None:
        """Set the constant increase per step, which must be positive."""
        self._rates[axis] = per_step

    def set_values(self, axis: str, first_step: int, values: Iterable[float]) -> None:
        """Set the values from this step on; those of later steps are replaced. A falling value is raised."""
        first, column = self._columns.setdefault(axis, (first_step, array("d")))
        del column[max(0, first_step - first) :]
        before = column[-1] if column else 0.0
        fresh = accumulate(values, max, initial=before)  # a clock that was set back would make a line cross itself
        next(fresh)
        column.extend(fresh)

    def truncate(self, after_step: int) -> None:
        for first, column in self._columns.values():
            del column[max(0, after_step + 1 - first) :]

    def x_of(self, axis: str, step: int) -> float:
        """Return the x value of a step; 0 if it is unknown."""
        if axis == STEP:
            return float(step)
        if axis in self._rates:
            return self._rates[axis] * step
        first, column = self._columns.get(axis, (0, array("d")))
        return column[min(step - first, len(column) - 1)] if column and step >= first else 0.0

    def first_step_at(self, axis: str, x: float) -> int:
        """Return the first step at x or to the right of it."""
        if axis == STEP:
            return math.ceil(x)
        if x <= 0:
            return 0
        if axis in self._rates:
            return math.ceil(x / self._rates[axis])
        first, column = self._columns[axis]
        return first + bisect_left(column, x)


class PixelColumn(NamedTuple):
    """The part of a line in one column of pixels (dots of a braille cell)."""

    pixel: int
    low: float
    high: float
    mean: float
    steps: int  # number of finite values
    broken: bool  # a value between the previous column and this one is not finite


class LineSeries:
    """A line with one value per step."""

    def __init__(self, name: str, label: str, colour: str, smoothed: bool, group: str) -> None:
        self.name, self.label, self.colour, self.smoothed, self.group = name, label, colour, smoothed, group
        self.first = 1
        self.pyramid = Pyramid()
        self._gaps: list[range] = []  # steps within the line that have no value
        self._cached_columns: tuple[list[int], int, list[PixelColumn]] = (
            [],
            0,
            [],
        )  # edges, length and columns of the last call

    @property
    def last(self) -> int:
        """The last step; the one before the first if there is none."""
        return self.first + len(self.pyramid) - 1

    def extend(self, first_step: int, values: Iterable[float]) -> None:
        """Add values from this step on. Existing values from there on are replaced; skipped steps have no value."""
        if not len(self.pyramid):
            self.first = first_step
        self.truncate(first_step - 1)
        if first_step > self.last + 1:
            self._gaps.append(range(self.last + 1, first_step))
            self.pyramid.extend([math.nan] * (first_step - self.last - 1))
        self.pyramid.extend(values)

    def truncate(self, after_step: int) -> None:
        if after_step < self.last:
            self.pyramid.truncate(max(0, after_step + 1 - self.first))
            gaps = (range(gap.start, min(gap.stop, after_step + 1)) for gap in self._gaps)
            self._gaps = [gap for gap in gaps if gap]
            self._cached_columns = ([], 0, [])

    def count_nonfinite(self, start: int, stop: int) -> int:
        """Count the steps whose value is not finite; skipped steps are not counted."""
        found = self.pyramid.count_nonfinite(max(0, start - self.first), max(0, stop - self.first))
        return found - sum(max(0, min(gap.stop, stop) - max(gap.start, start)) for gap in self._gaps)

    def value(self, step: int) -> float | None:
        place = step - self.first
        return self.pyramid.values[place] if 0 <= place < len(self.pyramid) else None

    def columns(self, edges: list[int]) -> list[PixelColumn]:
        """Return the line by pixel columns: column i has the steps from edges[i] up to edges[i + 1], exclusive."""
        first, length, pyramid = self.first, len(self.pyramid), self.pyramid
        _, old_length, found = self._cached_columns if self._cached_columns[0] == edges else (edges, 0, [])
        found = [point for point in found if edges[point.pixel + 1] - first <= old_length]  # the others have grown
        begin = found[-1].pixel + 1 if found else 0
        drawn_to = edges[begin] - first if found else None  # the end of the previous column
        for pixel, (start, stop) in enumerate(pairwise(edges[begin:]), begin):
            start, stop = max(0, start - first), min(length, stop - first)
            if start >= stop:
                continue
            span = pyramid.span(start, stop)
            if span.finite:
                broken = drawn_to is not None and pyramid.count_nonfinite(drawn_to, start) > 0
                found.append(PixelColumn(pixel, span.low, span.high, span.mean, span.finite, broken))
                drawn_to = stop
        self._cached_columns = (edges, length, found)
        return [*found]

    def smooth(self, columns: Sequence[PixelColumn], first_step: int, factor: float) -> list[float]:
        """Return the moving average at each column; a column of n steps counts as n values of its mean."""
        average, weight = self._average_before(first_step, factor)
        smoothed = []
        for point in columns:
            kept = factor**point.steps
            average = kept * average + (1 - kept) * point.mean
            weight = kept * weight + (1 - kept)
            smoothed.append(average / weight)
        return smoothed

    def smoothed_value(self, step: int, factor: float) -> float | None:
        average, weight = self._average_before(step + 1, factor)
        return average / weight if weight else None

    def _average_before(self, step: int, factor: float) -> tuple[float, float]:
        """Return the exponential moving average of all earlier steps and its weight, below 1 at the beginning."""
        stop = min(len(self.pyramid), max(0, step - self.first))
        enough = math.ceil(math.log(_NEGLIGIBLE_WEIGHT) / math.log(factor)) if factor else 1
        average = weight = 0.0
        for value in self.pyramid.values[max(0, stop - enough) : stop]:
            if math.isfinite(value):
                average = factor * average + (1 - factor) * value
                weight = factor * weight + (1 - factor)
        return average, weight


class DotSeries:
    """Dots: values at some steps."""

    def __init__(self, name: str, label: str, colour: str, group: str) -> None:
        self.name, self.label, self.colour, self.group = name, label, colour, group
        self.steps = array("q")
        self.values = array("d")

    @property
    def first(self) -> int:
        return self.steps[0] if self.steps else 0

    @property
    def last(self) -> int:
        return self.steps[-1] if self.steps else -1

    def add(self, step: int, value: float) -> None:
        place = bisect_left(self.steps, step)
        if place < len(self.steps) and self.steps[place] == step:
            self.values[place] = value
        else:
            self.steps.insert(place, step)
            self.values.insert(place, value)

    def truncate(self, after_step: int) -> None:
        place = bisect_left(self.steps, after_step + 1)
        del self.steps[place:]
        del self.values[place:]

    def between(self, start: int, stop: int) -> list[tuple[int, float]]:
        first, last = bisect_left(self.steps, start), bisect_left(self.steps, stop)
        return list(zip(self.steps[first:last], self.values[first:last], strict=True))

    def count_nonfinite(self, start: int, stop: int) -> int:
        return sum(not math.isfinite(value) for _, value in self.between(start, stop))

    def value(self, step: int) -> float | None:
        """Return the newest value up to a step."""
        place = bisect_left(self.steps, step + 1)
        return self.values[place - 1] if place else None


class ReferenceLevel(NamedTuple):
    """A horizontal line to compare with."""

    name: str
    label: str
    value: float


class StepMarks:
    """Marks with a label at steps, shown in the lane below the x axis."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, str], list[tuple[int, str]]] = {}  # group, level -> step, label in order of steps

    def add(self, step: int, level: str, label: str, group: str = "") -> None:
        """Add a mark of level `warn` or `error`."""
        if level not in MARK_LEVELS:
            raise ValueError(f"level of a mark: {level!r} is not one of warn, error")
        insort(self._marks.setdefault((group, level), []), (step, label))

    def clear(self, group: str | None = None) -> None:
        """Remove the marks of one group, or all marks."""
        self._marks = {} if group is None else {key: kept for key, kept in self._marks.items() if key[0] != group}

    def last_step(self, group: str) -> int | None:
        steps = [marks[-1][0] for (of_group, _), marks in self._marks.items() if of_group == group]
        return max(steps, default=None)

    def first_between(self, group: str, level: str, start: int, stop: int) -> str | None:
        """Return the label of the first mark in a range of steps, or None."""
        marks = self._marks.get((group, level))
        if not marks:
            return None
        place = bisect_left(marks, (start, ""))
        return marks[place][1] if place < len(marks) and marks[place][0] < stop else None

    def __bool__(self) -> bool:
        return bool(self._marks)
