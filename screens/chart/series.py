"""What a chart shows: dense lines, sparse dots, levels and marks, each a group's own with its own tokens and time."""

import math
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from screens.chart.pyramid import Pyramid

MARK_LEVELS = ("error", "warn")  # the worse first
_FORGOTTEN = 1e-6  # of its weight a value may keep for the average to begin after it


class Axes:
    """What tokens and time a group's steps came to. `step` is its own axis and needs no values."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[int, array[float]]] = {}  # axis -> first step, values that never fall
        self._rates: dict[str, float] = {}  # axis -> what every step adds

    def knows(self, axis: str) -> bool:
        return axis == "step" or axis in self._rates or bool(axis in self._columns and self._columns[axis][1])

    def set_rate(self, axis: str, each: float) -> None:
        """What every step adds, where all add the same; above zero."""
        self._rates[axis] = each

    def set_values(self, axis: str, first_step: int, values: Iterable[float]) -> None:
        """Values from this step on; those of later steps are replaced."""
        first, column = self._columns.setdefault(axis, (first_step, array("d")))
        del column[max(0, first_step - first) :]
        before = column[-1] if column else 0.0
        fresh = accumulate(values, max, initial=before)  # a clock that went back would cross lines
        next(fresh)
        column.extend(fresh)

    def truncate(self, after_step: int) -> None:
        for first, column in self._columns.values():
            del column[max(0, after_step + 1 - first) :]

    def x_of(self, axis: str, step: int) -> float:
        if axis == "step":
            return float(step)
        if axis in self._rates:
            return self._rates[axis] * step
        first, column = self._columns.get(axis, (0, array("d")))
        return column[min(step - first, len(column) - 1)] if column and step >= first else 0.0

    def first_step_at(self, axis: str, x: float) -> int:
        """The first step that stands at x or right of it."""
        if axis == "step":
            return math.ceil(x)
        if x <= 0:
            return 0
        if axis in self._rates:
            return math.ceil(x / self._rates[axis])
        first, column = self._columns[axis]
        return first + bisect_left(column, x)


class Point(NamedTuple):
    """What a line has in one column of dots."""

    pixel: int
    low: float
    high: float
    mean: float
    steps: int  # those with a finite value
    broken: bool  # something not finite lies between the point before and this one


class Line:
    """A value for every step."""

    def __init__(self, name: str, label: str, colour: str, smoothed: bool, group: str) -> None:
        self.name, self.label, self.colour, self.smoothed, self.group = name, label, colour, smoothed, group
        self.first = 1
        self.pyramid = Pyramid()
        self._left_out: list[range] = []  # steps within the line that have no value
        self._drawn: tuple[list[int], int, list[Point]] = ([], 0, [])  # edges, values there were, points of these

    @property
    def last(self) -> int:
        """The newest step; before the first where there is none."""
        return self.first + len(self.pyramid) - 1

    def extend(self, first_step: int, values: Iterable[float]) -> None:
        """Add values of this step and those after it. Existing steps are replaced, steps left out have no value."""
        if not len(self.pyramid):
            self.first = first_step
        self.truncate(first_step - 1)
        if first_step > self.last + 1:
            self._left_out.append(range(self.last + 1, first_step))
            self.pyramid.extend([math.nan] * (first_step - self.last - 1))
        self.pyramid.extend(values)

    def truncate(self, after_step: int) -> None:
        if after_step < self.last:
            self.pyramid.truncate(max(0, after_step + 1 - self.first))
            gaps = (range(gap.start, min(gap.stop, after_step + 1)) for gap in self._left_out)
            self._left_out = [gap for gap in gaps if gap]
            self._drawn = ([], 0, [])

    def count_nonfinite(self, start: int, stop: int) -> int:
        """Count the steps whose value is not finite; those that were left out have none."""
        found = self.pyramid.count_nonfinite(max(0, start - self.first), max(0, stop - self.first))
        return found - sum(max(0, min(gap.stop, stop) - max(gap.start, start)) for gap in self._left_out)

    def value(self, step: int) -> float | None:
        place = step - self.first
        return self.pyramid.values[place] if 0 <= place < len(self.pyramid) else None

    def points(self, edges: list[int]) -> list[Point]:
        """The line in columns of dots: column i has the steps from edges[i] up to edges[i + 1]."""
        first, length, pyramid = self.first, len(self.pyramid), self.pyramid
        _, old_length, found = self._drawn if self._drawn[0] == edges else (edges, 0, [])
        found = [point for point in found if edges[point.pixel + 1] - first <= old_length]  # the rest has grown
        begin = found[-1].pixel + 1 if found else 0
        drawn_to = edges[begin] - first if found else None  # the end of the point before
        for pixel, (start, stop) in enumerate(pairwise(edges[begin:]), begin):
            start, stop = max(0, start - first), min(length, stop - first)
            if start >= stop:
                continue
            span = pyramid.span(start, stop)
            if span.finite:
                broken = drawn_to is not None and pyramid.count_nonfinite(drawn_to, start) > 0
                found.append(Point(pixel, span.low, span.high, span.mean, span.finite, broken))
                drawn_to = stop
        self._drawn = (edges, length, found)
        return [*found]

    def smooth(self, points: Sequence[Point], first_step: int, factor: float) -> list[float]:
        """The moving average at each point, by steps: a point of n steps counts for n of its mean."""
        average, weight = self._average_before(first_step, factor)
        smoothed = []
        for point in points:
            kept = factor**point.steps
            average = kept * average + (1 - kept) * point.mean
            weight = kept * weight + (1 - kept)
            smoothed.append(average / weight)
        return smoothed

    def smoothed_value(self, step: int, factor: float) -> float | None:
        average, weight = self._average_before(step + 1, factor)
        return average / weight if weight else None

    def _average_before(self, step: int, factor: float) -> tuple[float, float]:
        """The exponential moving average of all earlier steps and its weight, which is below one at the beginning."""
        stop = min(len(self.pyramid), max(0, step - self.first))
        enough = math.ceil(math.log(_FORGOTTEN) / math.log(factor)) if factor else 1
        average = weight = 0.0
        for value in self.pyramid.values[max(0, stop - enough) : stop]:
            if math.isfinite(value):
                average = factor * average + (1 - factor) * value
                weight = factor * weight + (1 - factor)
        return average, weight


class Dots:
    """Values at some steps."""

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
        """The newest value up to a step."""
        place = bisect_left(self.steps, step + 1)
        return self.values[place - 1] if place else None


class Level(NamedTuple):
    """A value to compare with, the same at every step."""

    name: str
    label: str
    value: float


class Marks:
    """What happened at a step, in words, in the lane under the axis."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[tuple[int, str]]] = {}  # group, level -> step, label in order of steps

    def add(self, step: int, level: str, label: str, group: str = "") -> None:
        """A mark; level is `warn` or `error`."""
        if level not in MARK_LEVELS:
            raise ValueError(f"a mark is of level warn or error, not {level}")
        insort(self._kept.setdefault((group, level), []), (step, label))

    def clear(self, group: str | None = None) -> None:
        """Forget the marks of one group, or of all."""
        self._kept = {} if group is None else {key: kept for key, kept in self._kept.items() if key[0] != group}

    def last_step(self, group: str) -> int | None:
        steps = [marks[-1][0] for (of_group, _), marks in self._kept.items() if of_group == group]
        return max(steps, default=None)

    def first_between(self, group: str, level: str, start: int, stop: int) -> str | None:
        """The label of the first mark of some steps, None where there is none."""
        marks = self._kept.get((group, level))
        if not marks:
            return None
        place = bisect_left(marks, (start, ""))
        return marks[place][1] if place < len(marks) and marks[place][0] < stop else None

    def __bool__(self) -> bool:
        return bool(self._kept)
