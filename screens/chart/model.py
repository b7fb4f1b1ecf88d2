"""The model of a chart: its data, and how they are viewed (x axis, scales, window, smoothing, crosshair)."""

import math
from collections.abc import Sequence

from screens.chart.data import ChartData, XAxis
from screens.chart.scales import YScale, fit_y_scale
from screens.chart.series import STEP
from screens.chart.window import View, XWindow

SMOOTHINGS = (0.0, 0.6, 0.9, 0.98)  # factors of the exponential moving average


class ChartModel:
    """All that a drawing of the chart depends on, except its size and colours."""

    def __init__(self, axes: Sequence[XAxis] = (), empty_text: str = "no data yet") -> None:
        self.data = ChartData(axes)
        self.empty_text = empty_text
        self.smoothing = 0.9
        self.axis = STEP
        self.is_log = False
        self.window = XWindow()
        self.cross: float | None = None  # x of the crosshair
        self._y_scale: YScale | None = None

    def clear(self) -> None:
        """Remove the data and reset the view; log scale and smoothing stay."""
        self.data.clear()
        self.window.reset()
        self.cross = None
        self.axis = STEP
        self._y_scale = None

    def reset_view(self) -> None:
        """Reset axis, scales, smoothing, zoom and crosshair."""
        self.window.reset()
        self.axis, self.is_log, self.smoothing, self.cross = STEP, False, 0.9, None

    # --- x axis -------------------------------------------------------------------------------------

    @property
    def is_time_axis(self) -> bool:
        return any(axis.is_time for axis in self.data.axes if axis.name == self.axis)

    def x_of(self, group: str, step: int) -> float:
        return self.data.axes_of(group).x_of(self.axis, step)

    def extent(self) -> tuple[float, float]:
        """Return the smallest and the largest x; falls back to steps if the axis is not available."""
        if self.axis not in self.data.available_axes:
            self.axis = STEP
        return self.data.extent(self.axis)

    def view(self, pixels: int) -> View:
        """Return the pixel columns that the window shows."""
        return self.window.view(*self.extent(), pixels)

    def edges(self, view: View, group: str) -> list[int] | None:
        """Return the first step of each pixel column and the one after the last; None if the group lacks the axis."""
        axes = self.data.axes_of(group)
        if not axes.has_values(self.axis):
            return None
        if self.axis == STEP:
            return [math.ceil(x) for x in view.edges()]
        return [axes.first_step_at(self.axis, x) for x in view.edges()]

    def choose_axis(self, axis: str, view: View) -> None:
        """Change the x axis; crosshair and window stay on their steps."""
        line = self.data.longest_line
        if line is None:
            self.axis = axis
            return
        cross = self.cross_step()
        start, stop = (self.step_at(line.group, x) or 0 for x in (view.start, view.stop))
        self.axis = axis
        self.window.show(self.x_of(line.group, start), self.x_of(line.group, stop))
        if self.cross is not None:
            self.cross = self.x_of(line.group, cross)

    # --- y axis -------------------------------------------------------------------------------------

    def fit_y_scale(self, values: list[float]) -> YScale | None:
        """Return a scale for these values and, unless zoomed, the levels; None if there are none."""
        if self.window.is_whole:
            values = [*values, *self.data.finite_levels()]
        values = [value for value in values if math.isfinite(value) and (value > 0 or not self.is_log)]
        if not values:
            return None
        self._y_scale = fit_y_scale(min(values), max(values), self.is_log, self._y_scale)
        return self._y_scale

    # --- crosshair ----------------------------------------------------------------------------------

    def step_at(self, group: str, x: float) -> int | None:
        """Return the last step at x or to the left of it; None if the group lacks the axis."""
        axes = self.data.axes_of(group)
        if not axes.has_values(self.axis):
            return None
        if self.axis == STEP:
            return math.floor(x)
        step = axes.first_step_at(self.axis, x)
        return step if axes.x_of(self.axis, step) <= x else step - 1

    def cross_step(self) -> int:
        """Return the step of the longest line under the crosshair."""
        line = self.data.longest_line
        step = self.step_at(line.group, self.cross or 0.0) if line else None
        return 0 if line is None or step is None else min(line.last, max(line.first, step))

    def place_cross(self, x: float) -> None:
        """Place the crosshair on the nearest point of the longest line to the left of x."""
        self.cross = x
        if line := self.data.longest_line:
            self.cross = self.x_of(line.group, self.cross_step())

    def move_cross(self, direction: int, view: View) -> bool:
        """Move the crosshair by one pixel column, but at least one point. Return False at the end of the line."""
        line = self.data.longest_line
        if line is None or self.cross is None:
            return False
        before = self.cross_step()
        goal = self.step_at(line.group, self.cross + direction * view.per_pixel)
        goal = before + direction if goal is None else goal
        goal = max(goal, before + 1) if direction > 0 else min(goal, before - 1)
        self.cross = self.x_of(line.group, min(line.last, max(line.first, goal)))
        self.window.reveal(view, self.cross, *self.extent())
        return self.cross_step() != before
