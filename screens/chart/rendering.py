"""Render a chart on a canvas: axes, lines, dots, and the lane of marks."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from screens.chart.canvas import Canvas, StyleKey
from screens.chart.glyphs import ASCII_GLYPHS, DASHES, UNICODE_GLYPHS, GlyphSet
from screens.chart.legend import layout_legend
from screens.chart.model import ChartModel
from screens.chart.raster import Raster
from screens.chart.scales import YScale, compute_time_ticks, format_times, labels, nice_ticks
from screens.chart.series import MARK_LEVELS, LineSeries, PixelColumn
from screens.chart.window import View

_GUTTER = 8  # cells for the labels and the line of the y axis
_X_TICK_CELLS = 11  # minimum distance of two ticks on the x axis
_Y_TICK_ROWS = 4  # minimum distance of two ticks on the y axis
_SPIKE_HEIGHT = 3  # pixels: a stroke of this height is drawn even between the dashes of a line


class ChartDrawing(NamedTuple):
    """A finished drawing, and where on it the plot area is."""

    canvas: Canvas
    view: View
    left: int  # first cell of the plot area
    pixels_per_cell: int  # columns of dots in a cell


class _Stroke(NamedTuple):
    """A vertical stroke: the part of a line in one pixel column."""

    x: int
    top: int
    bottom: int


class _Layout(NamedTuple):
    """The plot area in cells, and which parts are shown around it."""

    left: int
    top: int
    width: int
    height: int
    has_axis: bool
    has_labels: bool
    has_lane: bool


def render_chart(model: ChartModel, width: int, height: int, ascii: bool, is_monochrome: bool) -> ChartDrawing:
    """Render all of the chart. Small areas have no legend, axes and lane."""
    glyphs = ASCII_GLYPHS if ascii else UNICODE_GLYPHS
    canvas = Canvas(width, height)
    legend = layout_legend(model, glyphs, width, height, is_monochrome)
    layout = _compute_layout(model, width, height, len(legend))
    view = model.view(max(1, layout.width) * glyphs.charset.across)
    for row, items in enumerate(legend):
        for x, text, key in items:
            canvas.put(x, row, text, key)
    _Renderer(model, canvas, glyphs, layout, view, is_monochrome).render()
    return ChartDrawing(canvas, view, layout.left, glyphs.charset.across)


def _compute_layout(model: ChartModel, width: int, height: int, legend_rows: int) -> _Layout:
    left = _GUTTER if width >= 3 * _GUTTER else 0
    has_labels = height >= 4 and width >= 12
    has_axis = height >= 6 and width >= 12
    has_lane = height >= 5 and (bool(model.data.marks) or bool(model.data.find_nonfinite()))
    used = legend_rows + has_axis + has_labels + has_lane
    return _Layout(left, legend_rows, width - left, max(1, height - used), has_axis, has_labels, has_lane)


class _Renderer:
    """Renders one drawing."""

    def __init__(
        self, model: ChartModel, canvas: Canvas, glyphs: GlyphSet, layout: _Layout, view: View, is_monochrome: bool
    ) -> None:
        self.model, self.canvas, self.glyphs, self.layout, self.view = model, canvas, glyphs, layout, view
        self.is_monochrome = is_monochrome
        self.plot_pixels = layout.height * glyphs.charset.down
        edges = {group: model.edges(view, group) for group in {"", *model.data.groups}}
        self.edges = {group: steps for group, steps in edges.items() if steps is not None}

    def render(self) -> None:
        columns = {
            name: self._columns(line) for name, line in self.model.data.lines.items() if line.group in self.edges
        }
        scale = self._scale(columns)
        if scale:
            self._draw_y_axis(scale)
            self._draw_levels(scale)
            self._draw_cross()
            self._draw_lines(columns, scale)
            self._draw_dots(scale)
        if self.model.data.is_empty:
            x = self.layout.left + max(0, (self.layout.width - len(self.model.empty_text)) // 2)
            self.canvas.put(x, self.layout.top + self.layout.height // 2, self.model.empty_text, StyleKey("empty"))
        if self.model.data.marks or not self.model.data.is_empty:
            self._draw_x_axis()
            self._draw_lane()

    # --- what is in view ----------------------------------------------------------------------

    def _columns(self, line: LineSeries) -> list[PixelColumn]:
        """Return the line by pixel columns, and the next point on either side if points are sparser than pixels."""
        edges = self.edges[line.group]
        columns = line.columns(edges)
        if edges[-1] - edges[0] >= len(edges):
            return columns
        for step, place in ((edges[0] - 1, 0), (edges[-1], len(columns))):
            value = line.value(step)
            if value is not None and math.isfinite(value):
                pixel = self.view.pixel(self.model.x_of(line.group, step))
                columns.insert(place, PixelColumn(pixel, value, value, value, 1, False))
        return columns

    def _scale(self, columns: dict[str, list[PixelColumn]]) -> YScale | None:
        values = [value for columns in columns.values() for point in columns for value in (point.low, point.high)]
        for dots in self.model.data.dots.values():
            if dots.group in self.edges:
                edges = self.edges[dots.group]
                values += [value for _, value in dots.between(edges[0], edges[-1])]
        return self.model.fit_y_scale(values)

    def _is_in_view(self, pixel: int) -> bool:
        return 0 <= pixel < self.view.pixels

    # --- series -------------------------------------------------------------------------------

    def _draw_levels(self, scale: YScale) -> None:
        layout = self.layout
        for level in self.model.data.levels.values():
            if scale.has(level.value):
                row = layout.top + scale.place(level.value, self.plot_pixels) // self.glyphs.charset.down
                self.canvas.put(layout.left, row, self.glyphs.level * layout.width, StyleKey("level"))

    def _draw_cross(self) -> None:
        if self.model.cross is None or not self._is_in_view(self.view.pixel(self.model.cross)):
            return
        x = self.layout.left + self.view.pixel(self.model.cross) // self.glyphs.charset.across
        for row in range(self.layout.top, self.layout.top + self.layout.height):
            self.canvas.put(x, row, self.glyphs.cross, StyleKey("cross"))

    def _draw_lines(self, columns: dict[str, list[PixelColumn]], scale: YScale) -> None:
        """Draw the raw lines, then the smoothed ones, which cover them."""
        smoothing, height = self.model.smoothing, self.plot_pixels
        for number, (name, of_line) in enumerate(columns.items()):
            line = self.model.data.lines[name]
            is_faint = bool(smoothing and line.smoothed)
            spans = [(scale.place(column.high, height), scale.place(column.low, height)) for column in of_line]
            self._draw_line(number, of_line, spans, StyleKey("raw" if is_faint else "line", line.colour), not is_faint)
        for number, (name, of_line) in enumerate(columns.items()):
            line = self.model.data.lines[name]
            if not (smoothing and line.smoothed and of_line):
                continue
            begins_before = of_line[0].pixel < 0
            averages = line.smooth(of_line, self.edges[line.group][0] - begins_before, smoothing)
            spans = [(y, y) for y in (scale.place(value, height) for value in averages)]
            self._draw_line(number, of_line, spans, StyleKey("line", line.colour), True)

    def _draw_line(
        self,
        number: int,
        columns: Sequence[PixelColumn],
        spans: Sequence[tuple[int, int]],
        key: StyleKey,
        is_main: bool,
    ) -> None:
        raster = Raster(self.glyphs.charset, self.layout.width, self.layout.height)
        on, off = DASHES[number % len(DASHES)] if is_main and self.is_monochrome else (1, 0)
        before: _Stroke | None = None
        for point, (top, bottom) in zip(columns, spans, strict=True):
            stroke = _Stroke(point.pixel, top, bottom)
            joined = None if point.broken else before
            leap = bottom - top if joined is None else max(bottom, joined.bottom) - min(top, joined.top)
            if joined is None or not off or stroke.x % (on + off) < on or leap >= _SPIKE_HEIGHT:
                raster.stroke(*stroke)
                if joined is not None:
                    _join(raster, joined, stroke)
            before = stroke
        own = self.glyphs.lines[number % len(self.glyphs.lines)] if self.glyphs.lines and is_main else ""
        if own and len(self.model.data.lines) == 1 and key.part == "line" and not self.model.smoothing:
            own = ""  # a single line may use the finer characters
        for column, row, glyph in raster.glyphs():
            self.canvas.put(self.layout.left + column, self.layout.top + row, own or glyph, key)

    def _draw_dots(self, scale: YScale) -> None:
        charset = self.glyphs.charset
        for number, dots in enumerate(self.model.data.dots.values()):
            if dots.group not in self.edges:
                continue
            edges = self.edges[dots.group]
            for step, value in dots.between(edges[0], edges[-1]):
                pixel = self.view.pixel(self.model.x_of(dots.group, step))
                if math.isfinite(value) and self._is_in_view(pixel):
                    row = self.layout.top + scale.place(value, self.plot_pixels) // charset.down
                    glyph = self.glyphs.dots[number % len(self.glyphs.dots)]
                    self.canvas.put(
                        self.layout.left + pixel // charset.across, row, glyph, StyleKey("line", dots.colour)
                    )

    # --- axes and lane ------------------------------------------------------------------------

    def _draw_y_axis(self, scale: YScale) -> None:
        layout, glyphs = self.layout, self.glyphs
        if not layout.left:
            return
        for row in range(layout.top, layout.top + layout.height):
            self.canvas.put(layout.left - 1, row, glyphs.bar, StyleKey("axis"))
        ticks = scale.ticks(max(1, layout.height // _Y_TICK_ROWS + 1))
        for value, label in zip(ticks, labels(ticks), strict=True):
            row = layout.top + scale.place(value, self.plot_pixels) // glyphs.charset.down
            self.canvas.put(0, row, label.rjust(layout.left - 1)[: layout.left - 1], StyleKey("label"))
            self.canvas.put(layout.left - 1, row, glyphs.tick, StyleKey("axis"))

    def _draw_x_axis(self) -> None:
        layout, glyphs = self.layout, self.glyphs
        row = layout.top + layout.height
        ticks = self._x_ticks()
        if layout.has_axis:
            self.canvas.put(layout.left, row, glyphs.rule * layout.width, StyleKey("axis"))
            if layout.left:
                self.canvas.put(layout.left - 1, row, glyphs.corner, StyleKey("axis"))
            for cell, _ in ticks:
                self.canvas.put(cell, row, glyphs.rule_tick, StyleKey("axis"))
            row += 1
        if not layout.has_labels:
            return
        end = self.canvas.width - len(self.model.axis) - 1
        for cell, label in ticks:
            x = max(0, cell - len(label) // 2)
            if x + len(label) < end:
                self.canvas.put(x, row, label, StyleKey("label"))
        self.canvas.put(end + 1, row, self.model.axis, StyleKey("label"))

    def _x_ticks(self) -> list[tuple[int, str]]:
        compute_ticks, format_labels = (
            (compute_time_ticks, format_times) if self.model.is_time_axis else (nice_ticks, labels)
        )
        values = compute_ticks(self.view.start, self.view.stop, max(1, self.layout.width // _X_TICK_CELLS))
        cells = [self.layout.left + self.view.pixel(value) // self.glyphs.charset.across for value in values]
        return [place for place in zip(cells, format_labels(values), strict=True) if place[0] < self.canvas.width]

    def _draw_lane(self) -> None:
        """Draw the most severe mark of each cell: its label if there is room, else one character."""
        layout = self.layout
        if not layout.has_lane:
            return
        row = layout.top + layout.height + layout.has_axis + layout.has_labels
        marks = list(self._marks())
        for place, (cell, key, texts) in enumerate(marks):
            room = (marks[place + 1][0] if place + 1 < len(marks) else layout.width) - cell - 1
            text = next((text for text in texts if len(text) <= room), texts[-1])
            self.canvas.put(layout.left + cell, row, text, key)

    def _marks(self) -> Iterator[tuple[int, StyleKey, list[str]]]:
        """Yield cell, style and texts of each mark in the lane, the longest text first."""
        across, marks = self.glyphs.charset.across, self.model.data.marks
        marked = [(group, edges) for group, edges in self.edges.items() if marks.last_step(group) is not None]
        broken = [
            (series, self.edges[series.group])
            for series in self.model.data.find_nonfinite()
            if series.group in self.edges
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
                yield cell, StyleKey("error"), [f"{self.glyphs.error}{labels['error']}", self.glyphs.error]
            elif nan:
                warning = [f"{self.glyphs.warn}{labels['warn']} NaN"] if "warn" in labels else []
                yield cell, StyleKey("error"), [*warning, "NaN", "N"]
            elif "warn" in labels:
                yield cell, StyleKey("warn"), [f"{self.glyphs.warn}{labels['warn']}", self.glyphs.warn]


def _join(raster: Raster, before: _Stroke, now: _Stroke) -> None:
    """Connect the strokes of two columns, unless they touch."""
    if now.x == before.x + 1 and before.top <= now.bottom + 1 and now.top <= before.bottom + 1:
        return
    if before.bottom < now.top:
        raster.line(before.x, before.bottom, now.x, now.top)
    elif now.bottom < before.top:
        raster.line(before.x, before.top, now.x, now.bottom)
    else:
        middle = (max(before.top, now.top) + min(before.bottom, now.bottom)) // 2
        raster.line(before.x, middle, now.x, middle)
