"""Draws a plot on a canvas: axes, lines, dots, and the lane of marks."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from screens.chart.canvas import Canvas, Ink
from screens.chart.legend import legend_rows
from screens.chart.look import DASHES, PLAIN, UNICODE, Look
from screens.chart.plot import Plot
from screens.chart.raster import Raster
from screens.chart.scales import YScale, clock_ticks, clocks, labels, nice_ticks
from screens.chart.series import MARK_LEVELS, Dots, Line, Point
from screens.chart.window import View

EMPTY_WORDS = "no losses yet"
_GUTTER = 8  # cells for the labels of the y axis, its line included
_TICK_APART = 11  # cells for a label of the x axis
_TICK_ROWS = 4
_TALL = 3  # dots: a stroke so high is no part of a dashed line but a spike, and is never left out


class Painting(NamedTuple):
    """A finished drawing, and where on it the plot is."""

    canvas: Canvas
    view: View
    left: int  # the first cell of the plot
    across: int  # columns of dots in a cell


class _Stroke(NamedTuple):
    """The dots of a line in one column."""

    x: int
    top: int
    bottom: int


class _Layout(NamedTuple):
    left: int
    top: int
    width: int
    height: int
    axis: bool
    labels: bool
    lane: bool


def paint(plot: Plot, width: int, height: int, ascii: bool, monochrome: bool) -> Painting:
    """Draw all of it. Small areas go without legend, axes and lane."""
    look = PLAIN if ascii else UNICODE
    canvas = Canvas(width, height)
    legend = legend_rows(plot, look, width, height, monochrome)
    layout = _layout(plot, width, height, len(legend))
    view = plot.view(max(1, layout.width) * look.charset.across)
    painter = _Painter(plot, canvas, look, layout, view, monochrome)
    for row, items in enumerate(legend):
        for x, text, ink in items:
            canvas.put(x, row, text, ink)
    painter.paint()
    return Painting(canvas, view, layout.left, look.charset.across)


def _layout(plot: Plot, width: int, height: int, legend: int) -> _Layout:
    left = _GUTTER if width >= 3 * _GUTTER else 0
    labels = height >= 4 and width >= 12
    axis = height >= 6 and width >= 12
    lane = height >= 5 and _has_lane(plot)
    used = legend + axis + labels + lane
    return _Layout(left, legend, width - left, max(1, height - used), axis, labels, lane)


def _has_lane(plot: Plot) -> bool:
    return bool(plot.marks) or bool(_with_nonfinite(plot))


def _with_nonfinite(plot: Plot) -> list[Line | Dots]:
    """Series that have a value which no height can show."""
    every: list[Line | Dots] = [*plot.lines.values(), *plot.dots.values()]
    return [series for series in every if series.count_nonfinite(series.first, series.last + 1)]


# --- the plot -------------------------------------------------------------------------------------


class _Painter:
    """One drawing under way."""

    def __init__(self, plot: Plot, canvas: Canvas, look: Look, layout: _Layout, view: View, monochrome: bool) -> None:
        self.plot, self.canvas, self.look, self.layout, self.view = plot, canvas, look, layout, view
        self.monochrome = monochrome
        self.dots_high = layout.height * look.charset.down
        edges = {group: plot.edges(view, group) for group in {"", *plot.groups}}
        self.edges = {group: steps for group, steps in edges.items() if steps is not None}

    def paint(self) -> None:
        points = {name: self._points(line) for name, line in self.plot.lines.items() if line.group in self.edges}
        scale = self._scale(points)
        if scale:
            self._paint_y_axis(scale)
            self._paint_levels(scale)
            self._paint_cross()
            self._paint_lines(points, scale)
            self._paint_dots(scale)
        if self.plot.is_empty:
            x = self.layout.left + max(0, (self.layout.width - len(EMPTY_WORDS)) // 2)
            self.canvas.put(x, self.layout.top + self.layout.height // 2, EMPTY_WORDS, Ink("empty"))
        if self.plot.marks or not self.plot.is_empty:
            self._paint_x_axis()
            self._paint_lane()

    # --- what is in view ----------------------------------------------------------------------

    def _points(self, line: Line) -> list[Point]:
        """The line's columns, and the point beyond each side where columns are fewer than pixels."""
        edges = self.edges[line.group]
        points = line.points(edges)
        if edges[-1] - edges[0] >= len(edges):
            return points
        for step, place in ((edges[0] - 1, 0), (edges[-1], len(points))):
            value = line.value(step)
            if value is not None and math.isfinite(value):
                pixel = self.view.pixel(self.plot.x_of(line.group, step))
                points.insert(place, Point(pixel, value, value, value, 1, False))
        return points

    def _scale(self, points: dict[str, list[Point]]) -> YScale | None:
        values = [value for of_line in points.values() for point in of_line for value in (point.low, point.high)]
        for dots in self.plot.dots.values():
            if dots.group in self.edges:
                edges = self.edges[dots.group]
                values += [value for _, value in dots.between(edges[0], edges[-1])]
        return self.plot.scale(values)

    def _is_in_view(self, pixel: int) -> bool:
        return 0 <= pixel < self.view.pixels

    # --- series -------------------------------------------------------------------------------

    def _paint_levels(self, scale: YScale) -> None:
        layout = self.layout
        for level in self.plot.levels.values():
            if scale.has(level.value):
                row = layout.top + scale.place(level.value, self.dots_high) // self.look.charset.down
                self.canvas.put(layout.left, row, self.look.level * layout.width, Ink("level"))

    def _paint_cross(self) -> None:
        if self.plot.cross is None or not self._is_in_view(self.view.pixel(self.plot.cross)):
            return
        x = self.layout.left + self.view.pixel(self.plot.cross) // self.look.charset.across
        for row in range(self.layout.top, self.layout.top + self.layout.height):
            self.canvas.put(x, row, self.look.cross, Ink("cross"))

    def _paint_lines(self, points: dict[str, list[Point]], scale: YScale) -> None:
        """First the raw lines, then the smoothed ones: of two lines in a cell the later one is seen."""
        smoothing = self.plot.smoothing
        for number, (name, of_line) in enumerate(points.items()):
            line = self.plot.lines[name]
            faint = bool(smoothing and line.smoothed)
            spans = [
                (scale.place(point.high, self.dots_high), scale.place(point.low, self.dots_high)) for point in of_line
            ]
            self._paint_line(number, of_line, spans, Ink("raw" if faint else "line", line.colour), not faint)
        for number, (name, of_line) in enumerate(points.items()):
            line = self.plot.lines[name]
            if not (smoothing and line.smoothed and of_line):
                continue
            begins_before = of_line[0].pixel < 0
            averages = line.smooth(of_line, self.edges[line.group][0] - begins_before, smoothing)
            heights = [scale.place(value, self.dots_high) for value in averages]
            self._paint_line(number, of_line, [(y, y) for y in heights], Ink("line", line.colour), True)

    def _paint_line(
        self, number: int, points: Sequence[Point], spans: Sequence[tuple[int, int]], ink: Ink, main: bool
    ) -> None:
        raster = Raster(self.look.charset, self.layout.width, self.layout.height)
        on, off = DASHES[number % len(DASHES)] if main and self.monochrome else (1, 0)
        before: _Stroke | None = None
        for point, (top, bottom) in zip(points, spans, strict=True):
            stroke = _Stroke(point.pixel, top, bottom)
            joined = None if point.broken else before
            leap = bottom - top if joined is None else max(bottom, joined.bottom) - min(top, joined.top)
            if joined is None or not off or stroke.x % (on + off) < on or leap >= _TALL:
                raster.upright(*stroke)
                if joined is not None:
                    _join(raster, joined, stroke)
            before = stroke
        own = self.look.lines[number % len(self.look.lines)] if self.look.lines and main else ""
        if own and len(self.plot.lines) == 1 and ink.part == "line" and not self.plot.smoothing:
            own = ""  # alone, it may use the finer characters
        for column, row, glyph in raster.glyphs():
            self.canvas.put(self.layout.left + column, self.layout.top + row, own or glyph, ink)

    def _paint_dots(self, scale: YScale) -> None:
        charset = self.look.charset
        for number, dots in enumerate(self.plot.dots.values()):
            if dots.group not in self.edges:
                continue
            edges = self.edges[dots.group]
            for step, value in dots.between(edges[0], edges[-1]):
                pixel = self.view.pixel(self.plot.x_of(dots.group, step))
                if math.isfinite(value) and self._is_in_view(pixel):
                    row = self.layout.top + scale.place(value, self.dots_high) // charset.down
                    glyph = self.look.dots[number % len(self.look.dots)]
                    self.canvas.put(self.layout.left + pixel // charset.across, row, glyph, Ink("line", dots.colour))

    # --- axes and lane ------------------------------------------------------------------------

    def _paint_y_axis(self, scale: YScale) -> None:
        layout, look = self.layout, self.look
        if not layout.left:
            return
        for row in range(layout.top, layout.top + layout.height):
            self.canvas.put(layout.left - 1, row, look.bar, Ink("axis"))
        ticks = scale.ticks(max(1, layout.height // _TICK_ROWS + 1))
        for value, label in zip(ticks, labels(ticks), strict=True):
            row = layout.top + scale.place(value, self.dots_high) // look.charset.down
            self.canvas.put(0, row, label.rjust(layout.left - 1)[: layout.left - 1], Ink("label"))
            self.canvas.put(layout.left - 1, row, look.tick, Ink("axis"))

    def _paint_x_axis(self) -> None:
        layout, look = self.layout, self.look
        row = layout.top + layout.height
        ticks = self._x_ticks()
        if layout.axis:
            self.canvas.put(layout.left, row, look.rule * layout.width, Ink("axis"))
            if layout.left:
                self.canvas.put(layout.left - 1, row, look.corner, Ink("axis"))
            for cell, _ in ticks:
                self.canvas.put(cell, row, look.rule_tick, Ink("axis"))
            row += 1
        if not layout.labels:
            return
        end = self.canvas.width - len(self.plot.axis) - 1
        for cell, label in ticks:
            x = max(0, cell - len(label) // 2)
            if x + len(label) < end:
                self.canvas.put(x, row, label, Ink("label"))
        self.canvas.put(end + 1, row, self.plot.axis, Ink("label"))

    def _x_ticks(self) -> list[tuple[int, str]]:
        timed = self.plot.axis == "time"
        find, write = (clock_ticks, clocks) if timed else (nice_ticks, labels)
        values = find(self.view.start, self.view.stop, max(1, self.layout.width // _TICK_APART))
        cells = [self.layout.left + self.view.pixel(value) // self.look.charset.across for value in values]
        return [place for place in zip(cells, write(values), strict=True) if place[0] < self.canvas.width]

    def _paint_lane(self) -> None:
        """What happened in each cell's steps: in words where there is room, the worst of it as one character always."""
        layout = self.layout
        if not layout.lane:
            return
        row = layout.top + layout.height + layout.axis + layout.labels
        marks = list(self._marks())
        for place, (cell, ink, texts) in enumerate(marks):
            room = (marks[place + 1][0] if place + 1 < len(marks) else layout.width) - cell - 1
            text = next((text for text in texts if len(text) <= room), texts[-1])
            self.canvas.put(layout.left + cell, row, text, ink)

    def _marks(self) -> Iterator[tuple[int, Ink, list[str]]]:
        """The cells of the lane that tell something, and what, the longest text first."""
        across, marks = self.look.charset.across, self.plot.marks
        marked = [(group, edges) for group, edges in self.edges.items() if marks.last_step(group) is not None]
        broken = [
            (series, self.edges[series.group]) for series in _with_nonfinite(self.plot) if series.group in self.edges
        ]
        for cell in range(self.layout.width):
            start, stop = cell * across, (cell + 1) * across
            labels = {
                level: label
                for level in MARK_LEVELS
                for group, edges in marked
                if (label := marks.first_between(group, level, edges[start], edges[stop])) is not None
            }
            nan = any(series.count_nonfinite(edges[start], edges[stop]) for series, edges in broken)
            if "error" in labels:
                yield cell, Ink("error"), [f"{self.look.error}{labels['error']}", self.look.error]
            elif nan:
                warning = [f"{self.look.warn}{labels['warn']} NaN"] if "warn" in labels else []
                yield cell, Ink("error"), [*warning, "NaN", "N"]
            elif "warn" in labels:
                yield cell, Ink("warn"), [f"{self.look.warn}{labels['warn']}", self.look.warn]


def _join(raster: Raster, before: _Stroke, now: _Stroke) -> None:
    """Close the gap between two columns' strokes; strokes beside each other that touch need nothing."""
    if now.x == before.x + 1 and before.top <= now.bottom + 1 and now.top <= before.bottom + 1:
        return
    if before.bottom < now.top:
        raster.line(before.x, before.bottom, now.x, now.top)
    elif now.bottom < before.top:
        raster.line(before.x, before.top, now.x, now.bottom)
    else:
        middle = (max(before.top, now.top) + min(before.bottom, now.bottom)) // 2
        raster.line(before.x, middle, now.x, middle)
