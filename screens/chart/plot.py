"""Everything a chart holds and how it is looked at, without a terminal: data, window, scales, crosshair."""

import math
from collections.abc import Iterator

from screens.chart.scales import YScale, y_scale
from screens.chart.series import Axes, Dots, Level, Line, Marks
from screens.chart.window import View, Window

AXES = ("step", "tokens", "time")
SMOOTHINGS = (0.0, 0.6, 0.9, 0.98)


class Plot:
    """Series by name; what belongs together is of one group, and has its own tokens and time."""

    def __init__(self) -> None:
        self.smoothing = 0.9
        self.axis = "step"
        self.log = False
        self.window = Window()
        self.cross: float | None = None  # where the crosshair stands on the x axis
        self.marks = Marks()
        self.clear()

    def clear(self) -> None:
        """Forget all data, and keep how it is looked at."""
        self.lines: dict[str, Line] = {}
        self.dots: dict[str, Dots] = {}
        self.levels: dict[str, Level] = {}
        self.groups: dict[str, Axes] = {}
        self.marks.clear()
        self.window.reset()
        self.cross = None
        self.axis = "step"
        self._scale: YScale | None = None

    # --- data -------------------------------------------------------------------------------------

    def axes_of(self, group: str) -> Axes:
        return self.groups.setdefault(group, Axes())

    def truncate(self, after_step: int, group: str | None) -> None:
        every: list[Line | Dots] = [*self.lines.values(), *self.dots.values()]
        for series in every:
            if group in (None, series.group):
                series.truncate(after_step)
        for name, axes in self.groups.items():
            if group in (None, name):
                axes.truncate(after_step)

    @property
    def is_empty(self) -> bool:
        return not any(len(line.pyramid) for line in self.lines.values()) and not any(
            dots.steps for dots in self.dots.values()
        )

    @property
    def points(self) -> int:
        """Points of the longest series."""
        return max(
            (len(line.pyramid) for line in self.lines.values()),
            default=max((len(dots.steps) for dots in self.dots.values()), default=0),
        )

    def known_axes(self) -> list[str]:
        """The x axes on which every group can be shown."""
        return [axis for axis in AXES if all(axes.knows(axis) for axes in self._used_groups())]

    def _used_groups(self) -> list[Axes]:
        used = {line.group for line in self.lines.values() if len(line.pyramid)}
        return [self.axes_of(group) for group in used]

    # --- the x axis -------------------------------------------------------------------------------

    def x_of(self, group: str, step: int) -> float:
        return self.axes_of(group).x_of(self.axis, step)

    def extent(self) -> tuple[float, float]:
        """The least and the greatest x of all that is there."""
        if self.axis not in self.known_axes():
            self.axis = "step"
        ends: list[float] = []
        for group, step in self._end_steps():
            if self.axes_of(group).knows(self.axis):
                ends.append(self.x_of(group, step))
        return min(ends, default=0.0), max(ends, default=1.0)

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

    def view(self, pixels: int) -> View:
        return self.window.view(*self.extent(), pixels)

    def edges(self, view: View, group: str) -> list[int] | None:
        """The first step of each column of dots and the one after the last; None where the group has no such axis."""
        axes = self.axes_of(group)
        if not axes.knows(self.axis):
            return None
        if self.axis == "step":
            return [math.ceil(x) for x in view.edges()]
        return [axes.first_step_at(self.axis, x) for x in view.edges()]

    # --- the y axis -------------------------------------------------------------------------------

    def scale(self, values: list[float]) -> YScale | None:
        """A scale for these values and, where everything is in view, the levels; None where there are none."""
        if self.window.whole:
            values = [*values, *(level.value for level in self.levels.values())]
        values = [value for value in values if math.isfinite(value) and (value > 0 or not self.log)]
        if not values:
            return None
        self._scale = y_scale(min(values), max(values), self.log, self._scale)
        return self._scale

    def has_positive(self) -> bool:
        """Whether a log scale would show anything."""
        spans = (line.pyramid.span(0, len(line.pyramid)) for line in self.lines.values())
        return any(span.high > 0 for span in spans) or any(
            value > 0 for dots in self.dots.values() for value in dots.values
        )

    # --- the crosshair ----------------------------------------------------------------------------

    @property
    def leader(self) -> Line | None:
        """The line whose steps the crosshair walks: the longest."""
        drawn = [line for line in self.lines.values() if len(line.pyramid)]
        return max(drawn, key=lambda line: len(line.pyramid), default=None)

    def step_at(self, group: str, x: float) -> int | None:
        """The last step at x or left of it."""
        axes = self.axes_of(group)
        if not axes.knows(self.axis):
            return None
        if self.axis == "step":
            return math.floor(x)
        step = axes.first_step_at(self.axis, x)
        return step if axes.x_of(self.axis, step) <= x else step - 1

    def cross_step(self) -> int:
        """The step under the crosshair, of the line it walks."""
        leader = self.leader
        step = self.step_at(leader.group, self.cross or 0.0) if leader else None
        return 0 if leader is None or step is None else min(leader.last, max(leader.first, step))

    def put_cross(self, x: float) -> None:
        """Stand on the line's point nearest on the left."""
        self.cross = x
        if self.leader:
            self.cross = self.x_of(self.leader.group, self.cross_step())

    def move_cross(self, by: int, view: View) -> bool:
        """One column of dots to a side, but at least a point. False at the line's end."""
        leader = self.leader
        if leader is None or self.cross is None:
            return False
        before = self.cross_step()
        goal = self.step_at(leader.group, self.cross + by * view.per_pixel)
        goal = before + by if goal is None else goal
        goal = max(goal, before + 1) if by > 0 else min(goal, before - 1)
        self.cross = self.x_of(leader.group, min(leader.last, max(leader.first, goal)))
        self.window.reveal(view, self.cross, *self.extent())
        return self.cross_step() != before

    def choose_axis(self, axis: str, view: View) -> None:
        """Another x axis; the crosshair and the window stay on their steps."""
        leader = self.leader
        if leader is None:
            self.axis = axis
            return
        cross = self.cross_step()
        start, stop = (self.step_at(leader.group, x) or 0 for x in (view.start, view.stop))
        self.axis = axis
        self.window.show(self.x_of(leader.group, start), self.x_of(leader.group, stop))
        if self.cross is not None:
            self.cross = self.x_of(leader.group, cross)
