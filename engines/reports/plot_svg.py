"""Plots as SVG. Attributes hold the light colours, which every viewer shows; a page overrides them for dark mode."""

import math
from collections.abc import Iterable, Iterator

from engines.output.ticks import labels, log_ticks, nice_ticks
from engines.reports.colours import ELEMENT_COLOURS, series_colour
from engines.reports.markup import Safe, join, tag
from engines.reports.plot import Band, Curve, Dot, Mark, PlotData, Scale, choose_y_scale

WIDTH, HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 14, 30, 42
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_CHARACTER_WIDTH = 6.6  # pixels, approximately, at the font size of the legend
_LEGEND_LINE = 18
_MAX_LABEL = 60  # characters
_POINT = 1.6  # radius of a value between two that are not finite
_MIN_MARK = 1.6  # pixels, so that a single step of a million is visible


class _PlotArea:
    """The plotting area, and the positions of values in it."""

    def __init__(self, plot: PlotData) -> None:
        self.left, self.right = _LEFT, WIDTH - _RIGHT
        self.top, self.bottom = _TOP, HEIGHT - _BOTTOM
        self.x = Scale(*plot.x_range(), False)
        self.y: Scale = choose_y_scale(plot.values(), plot.linear)

    def x_pixel(self, value: float) -> float:
        """Return the horizontal position of a value."""
        return self.left + self.x.position(value) * (self.right - self.left)

    def y_pixel(self, value: float) -> float:
        """Return the vertical position of a value; a value outside the axis is at its end."""
        return self.bottom - min(1.0, max(0.0, self.y.position(value))) * (self.bottom - self.top)

    def is_outside(self, value: float) -> bool:
        """Return whether a finite value lies beyond the y axis."""
        return math.isfinite(value) and not -1e-9 <= self.y.position(value) <= 1 + 1e-9


def draw_plot(plot: PlotData) -> Safe:
    """Draw a plot; one without finite values shows "no data"."""
    area, keys = _PlotArea(plot), list(_place_legend(plot))
    height = HEIGHT + _LEGEND_LINE * (keys[-1][1] + 1 if keys else 0)
    if plot.is_empty:
        middle = (area.left + area.right) / 2
        return draw_canvas(height, plot.title, draw_text(middle, HEIGHT / 2, "no data", "middle"))
    return draw_canvas(
        height,
        plot.title,
        *_draw_axes(area, plot),
        *(_draw_mark(area, mark) for mark in plot.marks),
        *(_draw_band(area, band) for band in plot.bands),
        *(_draw_curve(area, curve) for curve in plot.curves),
        *(_draw_dot(area, dot) for dot in plot.dots),
        *_draw_outliers(area, plot),
        *(_draw_key(*key) for key in keys),
    )


def draw_canvas(height: float, title: str, *parts: Safe) -> Safe:
    """Draw the title and background of a plot, with its parts on top."""
    return tag(
        "svg",
        tag("rect", width=WIDTH, height=height, fill=ELEMENT_COLOURS["paper"][0], class_="paper"),
        draw_text(_LEFT, 18, title, weight="600"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        aria_label=title,
        font_family=_FONT,
        font_size=12,
    )


def draw_text(x: float, y: float, label: str, anchor: str = "start", colour: str = "text", **more: object) -> Safe:
    """Draw text. `colour` names an entry of ELEMENT_COLOURS; `weight` and `size` are those of the font."""
    more = {f"font_{name}" if name in ("weight", "size") else name: value for name, value in more.items()}
    fill = ELEMENT_COLOURS[colour][0]
    return tag("text", label, x=fmt(x), y=fmt(y), text_anchor=anchor, fill=fill, class_=colour, **more)


def draw_line(x1: float, y1: float, x2: float, y2: float, colour: str) -> Safe:
    """Draw a straight line. `colour` names an entry of ELEMENT_COLOURS."""
    ends = {"x1": fmt(x1), "y1": fmt(y1), "x2": fmt(x2), "y2": fmt(y2)}
    return tag("line", **ends, stroke=ELEMENT_COLOURS[colour][0], class_=f"{colour} line")


def fmt(value: float) -> str:
    """Format a coordinate to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


# --- axes -------------------------------------------------------------------------------------------


def _draw_axes(area: _PlotArea, plot: PlotData) -> Iterator[Safe]:
    low, high = area.y.low, area.y.high
    ticks = log_ticks(math.log10(low), math.log10(high), 7) if area.y.log else nice_ticks(low, high, 6)
    for value, label in zip(ticks, labels(ticks), strict=True):
        yield draw_line(area.left, area.y_pixel(value), area.right, area.y_pixel(value), "grid")
        yield draw_text(area.left - 6, area.y_pixel(value) + 4, label, "end", "faint")
    ticks = [tick for tick in nice_ticks(area.x.low, area.x.high, 8) if tick == round(tick)]  # steps, tokens
    for value, label in zip(ticks, labels(ticks), strict=True):
        yield draw_line(area.x_pixel(value), area.bottom, area.x_pixel(value), area.bottom + 4, "faint")
        yield draw_text(area.x_pixel(value), area.bottom + 17, label, "middle", "faint")
    yield draw_line(area.left, area.bottom, area.right, area.bottom, "faint")
    yield draw_text(area.right, area.bottom + 34, plot.x_label, "end", "faint")
    y_label = plot.y_label + (", log scale" if area.y.log else "")
    middle = (area.top + area.bottom) / 2
    yield draw_text(0, 0, y_label, "middle", "faint", transform=f"translate(12 {fmt(middle)}) rotate(-90)")


# --- data --------------------------------------------------------------------------------


def _stretches(x: list[float], *ys: list[float]) -> Iterator[list[int]]:
    """Yield the indices of consecutive points that have values."""
    stretch: list[int] = []
    for place in range(len(x)):
        if all(math.isfinite(y[place]) for y in ys):
            stretch.append(place)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{fmt(x)} {fmt(y)}" for x, y in points)


def _draw_curve(area: _PlotArea, curve: Curve) -> Safe:
    colour, name = series_colour(curve.colour)
    paths, points = [], []
    for stretch in _stretches(curve.x, curve.y):
        line = [(area.x_pixel(curve.x[place]), area.y_pixel(curve.y[place])) for place in stretch]
        if len(line) > 1:
            paths.append(_path(line))
        else:
            (x, y), shape = line[0], {"r": _POINT, "fill": colour, "class_": f"{name} fill"}
            points.append(tag("circle", cx=fmt(x), cy=fmt(y), **shape))
    dash = "6 4" if curve.dashed else None
    style = {
        "fill": "none",
        "stroke": colour,
        "stroke_width": 1.8,
        "stroke_linejoin": "round",
        "stroke_dasharray": dash,
    }
    lines = [tag("path", d="".join(paths), **style, stroke_linecap="round", class_=f"{name} line")] if paths else []
    return join([*lines, *points])


def _draw_band(area: _PlotArea, band: Band) -> Safe:
    colour, name = series_colour(band.colour)
    paths = []
    for stretch in _stretches(band.x, band.low, band.high):
        upper = [(area.x_pixel(band.x[place]), area.y_pixel(band.high[place])) for place in stretch]
        lower = [(area.x_pixel(band.x[place]), area.y_pixel(band.low[place])) for place in reversed(stretch)]
        paths.append(_path([*upper, *lower]) + "Z")
    stroke = {"stroke": colour, "stroke_width": 0.6, "stroke_opacity": 0.35}  # a spike of one column is a line
    return tag("path", d="".join(paths), fill=colour, fill_opacity=0.18, **stroke, class_=f"{name} fill line")


def _draw_dot(area: _PlotArea, dot: Dot) -> Safe:
    if not math.isfinite(dot.y):
        return _draw_mark(area, Mark(dot.x, dot.x, dot.title, "broken"))
    colour, name = series_colour(dot.colour)
    place = {"cx": fmt(area.x_pixel(dot.x)), "cy": fmt(area.y_pixel(dot.y))}
    return tag("circle", tag("title", dot.title), **place, r=3, fill=colour, class_=f"{name} fill")


def _draw_mark(area: _PlotArea, mark: Mark) -> Safe:
    left, right = area.x_pixel(mark.first), area.x_pixel(mark.last)
    if mark.kind == "broken":
        width = max(_MIN_MARK, right - left)
        x, height = left - (width - right + left) / 2, area.bottom - area.top
        shape = {"x": fmt(x), "y": fmt(area.top), "width": fmt(width), "height": fmt(height)}
        fill = {"fill": ELEMENT_COLOURS["bad"][0], "fill_opacity": 0.35}
        return tag("rect", tag("title", mark.title), **shape, **fill, class_="broken bad fill")
    ends = {"x1": fmt(left), "x2": fmt(left), "y1": fmt(area.top), "y2": fmt(area.bottom)}
    return tag("line", tag("title", mark.title), **ends, stroke=ELEMENT_COLOURS["faint"][0], stroke_dasharray="2 3",
               class_="event faint line")  # fmt: skip


def _draw_outliers(area: _PlotArea, plot: PlotData) -> Iterator[Safe]:
    """Draw a small arrow at the edge for values beyond it; neighbouring ones share an arrow."""
    series = [(curve.x, curve.y, curve.colour) for curve in plot.curves]
    for band in plot.bands:
        series += [(band.low_at or band.x, band.low, band.colour), (band.high_at or band.x, band.high, band.colour)]
    series += [([dot.x], [dot.y], dot.colour) for dot in plot.dots]
    extremes: dict[tuple[int, bool], tuple[float, float, int]] = {}
    for xs, ys, colour in series:
        for x, y in zip(xs, ys, strict=True):
            if area.is_outside(y):
                key = (round(area.x_pixel(x) / 6), y > area.y.high)
                if key not in extremes or abs(y) >= abs(extremes[key][1]):  # a band has exact steps
                    extremes[key] = (x, y, colour)
    for (_, above), (x, y, colour) in sorted(extremes.items()):
        tip, base = (area.top - 7, area.top - 1) if above else (area.bottom + 7, area.bottom + 1)
        across = area.x_pixel(x)
        shape = f"M{fmt(across)} {fmt(tip)}L{fmt(across - 4)} {fmt(base)}L{fmt(across + 4)} {fmt(base)}Z"
        fill, name = series_colour(colour)
        yield tag("path", tag("title", f"{y:.5g} at {x:,.0f}"), d=shape, fill=fill, class_=f"outside {name} fill")


# --- the legend -----------------------------------------------------------------------------------------


def _place_legend(plot: PlotData) -> Iterator[tuple[float, int, str, str, Curve | None]]:
    """Yield x, line, kind, label and curve of each entry, as many on a line as fit."""
    entries: list[tuple[str, str, Curve | None]] = [("curve", curve.label, curve) for curve in plot.curves]
    entries += [(kind, label, None) for kind, label in plot.keys]
    x, row = float(_LEFT), 0
    for kind, label, curve in entries:
        label = label if len(label) <= _MAX_LABEL else label[: _MAX_LABEL - 1] + "…"
        width = 34 + _CHARACTER_WIDTH * len(label)
        if x > _LEFT and x + width > WIDTH - _RIGHT:
            x, row = float(_LEFT), row + 1
        yield x, row, kind, label, curve
        x += width


def _draw_key(x: float, row: int, kind: str, label: str, curve: Curve | None) -> Safe:
    y = HEIGHT + _LEGEND_LINE * row + 4
    text = draw_text(x + 22, y + 4, label, size=11)
    if curve:
        colour, name = series_colour(curve.colour)
        dash = "6 4" if curve.dashed else None
        stroke = {"stroke": colour, "stroke_width": 2.4, "stroke_dasharray": dash, "class_": f"{name} line"}
        return tag("g", tag("line", x1=fmt(x), y1=y, x2=fmt(x + 16), y2=y, **stroke), text)
    if kind == "dot":
        fill, name = series_colour(1)
        return tag("g", tag("circle", cx=fmt(x + 8), cy=y, r=3, fill=fill, class_=f"{name} fill"), text)
    colour, opacity = ("bad", 0.35) if kind == "broken" else ("faint", 0.3)
    style = {"fill": ELEMENT_COLOURS[colour][0], "fill_opacity": opacity}
    return tag("g", tag("rect", x=fmt(x), y=y - 5, width=16, height=10, **style, class_=f"{colour} fill"), text)
