"""The data of a chart: series by name and marks, in groups with their own x axes."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from screens.chart.series import STEP, DotSeries, GroupAxes, LineSeries, ReferenceLevel, StepMarks


class XAxis(NamedTuple):
    """An x axis besides the steps, such as tokens or seconds."""

    name: str
    is_time: bool = False  # values are seconds, labelled as hours, minutes and seconds


class ChartData:
    """Lines, dots, levels and marks. All steps are integers; `axes` are the x axes besides them."""

    def __init__(self, axes: Sequence[XAxis] = ()) -> None:
        self.axes = axes
        self.marks = StepMarks()
        self.clear()

    def clear(self) -> None:
        """Remove all series, axis values and marks."""
        self.lines: dict[str, LineSeries] = {}
        self.dots: dict[str, DotSeries] = {}
        self.levels: dict[str, ReferenceLevel] = {}
        self.groups: dict[str, GroupAxes] = {}
        self.marks.clear()

    def add_line(self, name: str, label: str, colour: str = "series-1", smoothed: bool = True, group: str = "") -> None:
        """Add a line with one value per step; if `smoothed`, its values are faint behind their moving average."""
        self.lines[name] = LineSeries(name, label, colour, smoothed, group)
        self.axes_of(group)

    def add_dots(self, name: str, label: str, colour: str = "series-2", group: str = "") -> None:
        """Add a series with values at some steps."""
        self.dots[name] = DotSeries(name, label, colour, group)
        self.axes_of(group)

    def add_level(self, name: str, label: str, value: float) -> None:
        """Add a horizontal line, or replace the one of that name."""
        self.levels[name] = ReferenceLevel(name, label, value)

    def extend_line(self, name: str, first_step: int, values: Iterable[float]) -> None:
        """Add values of a line from this step on, NaN and infinity allowed. Later existing values are replaced."""
        self.lines[name].extend(first_step, values)

    def add_dot(self, name: str, step: int, value: float) -> None:
        """Add a dot, or replace the one at this step."""
        self.dots[name].add(step, value)

    def set_axis_values(self, axis: str, first_step: int, values: Iterable[float], group: str = "") -> None:
        """Set a group's x values from this step on. They never decrease."""
        self.axes_of(group).set_values(axis, first_step, values)

    def set_axis_rate(self, axis: str, per_step: float, group: str = "") -> None:
        """Set the constant increase of a group's x values per step."""
        self.axes_of(group).set_rate(axis, per_step)

    def axis_value(self, axis: str, step: int, group: str = "") -> float:
        """Return the x value of a step; 0 if it is unknown."""
        axes = self.axes_of(group)
        return axes.x_of(axis, step) if axes.has_values(axis) else 0.0

    def truncate(self, after_step: int, group: str | None = None) -> None:
        """Remove all values after a step, of one group or of all. Marks stay: they show the reason."""
        every: list[LineSeries | DotSeries] = [*self.lines.values(), *self.dots.values()]
        for series in every:
            if group in (None, series.group):
                series.truncate(after_step)
        for name, axes in self.groups.items():
            if group in (None, name):
                axes.truncate(after_step)

    def axes_of(self, group: str) -> GroupAxes:
        return self.groups.setdefault(group, GroupAxes())

    @property
    def is_empty(self) -> bool:
        return not any(len(line.pyramid) for line in self.lines.values()) and not any(
            dots.steps for dots in self.dots.values()
        )

    @property
    def has_positive_values(self) -> bool:
        """True if a logarithmic scale has anything to show."""
        spans = (line.pyramid.span(0, len(line.pyramid)) for line in self.lines.values())
        return any(span.high > 0 for span in spans) or any(
            value > 0 for dots in self.dots.values() for value in dots.values
        )

    @property
    def has_smoothed_lines(self) -> bool:
        return any(line.smoothed for line in self.lines.values())

    @property
    def max_length(self) -> int:
        """The number of points of the longest series."""
        return max(
            (len(line.pyramid) for line in self.lines.values()),
            default=max((len(dots.steps) for dots in self.dots.values()), default=0),
        )

    @property
    def longest_line(self) -> LineSeries | None:
        """The line with the most points, which the crosshair follows."""
        drawn = [line for line in self.lines.values() if len(line.pyramid)]
        return max(drawn, key=lambda line: len(line.pyramid), default=None)

    @property
    def available_axes(self) -> list[str]:
        """The x axes for which every group has values; always the steps."""
        used = [self.axes_of(group) for group in {line.group for line in self.lines.values() if len(line.pyramid)}]
        names = [STEP, *(axis.name for axis in self.axes)]
        return [name for name in names if all(axes.has_values(name) for axes in used)]

    def find_nonfinite(self) -> list[LineSeries | DotSeries]:
        """Return the series that have NaN or infinite values, which cannot be drawn on the y axis."""
        every: list[LineSeries | DotSeries] = [*self.lines.values(), *self.dots.values()]
        return [series for series in every if series.count_nonfinite(series.first, series.last + 1)]

    def extent(self, axis: str) -> tuple[float, float]:
        """Return the smallest and the largest x of all series and marks; 0 and 1 if there are none."""
        ends = [
            self.axes_of(group).x_of(axis, step)
            for group, step in self._end_steps()
            if self.axes_of(group).has_values(axis)
        ]
        return min(ends, default=0.0), max(ends, default=1.0)

    def finite_levels(self) -> list[float]:
        return [level.value for level in self.levels.values() if math.isfinite(level.value)]

    def _end_steps(self) -> Iterator[tuple[str, int]]:
        for line in self.lines.values():
            if len(line.pyramid):
                yield line.group, min(line.first, 0) if line.first <= 1 else line.first
                yield line.group, line.last
        for dots in self.dots.values():
            if dots.steps:
                yield dots.group, dots.steps[0]
                yield dots.group, dots.steps[-1]
        for group in self.groups:
            last_mark = self.marks.last_step(group)
            if last_mark is not None:
                yield group, last_mark
