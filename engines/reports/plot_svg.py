"""A plot as SVG. Light colours are attributes, which any program shows; a page darkens them through their classes."""

import math
from collections.abc import Iterable, Iterator

from engines.reports import scales
from engines.reports.markup import Safe, joined, tag
from engines.reports.plot import COLOURS, Band, Curve, Dot, Mark, Plot, Scale, y_scale

# Okabe and Ito's colours, told apart by the colour-blind too: on white, and on near-black.
PALETTE = (
    ("#0072b2", "#4aa8e0"), ("#d55e00", "#ff8a3d"), ("#009e73", "#2fc79a"), ("#a8518a", "#e08cc4"),
    ("#b8860b", "#e6b93c"), ("#3a9bc9", "#8fd0f2"), ("#5b5b5b", "#c8c8c8"), ("#7a3fb0", "#b48be0"),
)  # fmt: skip
INK = {"text": ("#222222", "#e4e4e4"), "faint": ("#666666", "#a8a8a8"), "grid": ("#dddddd", "#3a3a3a"),
       "bad": ("#c00000", "#ff6b6b"), "paper": ("#ffffff", "#16181c")}  # fmt: skip
WIDTH, HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 14, 30, 42
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_CHARACTER = 6.6  # pixels of one, about, at the size of a legend
_LEGEND_LINE = 18
_LONGEST_LABEL = 60
_POINT = 1.6  # radius of a value between two that are not finite
_LEAST_MARK = 1.6  # pixels: a single broken step of a million is still seen


class _Frame:
    """Where values stand in the picture."""

    def __init__(self, plot: Plot) -> None:
        self.left, self.right = _LEFT, WIDTH - _RIGHT
        self.top, self.bottom = _TOP, HEIGHT - _BOTTOM
        self.x = Scale(*plot.x_range(), False)
        self.y: Scale = y_scale(plot.values(), plot.linear)

    def across(self, value: float) -> float:
        return self.left + self.x.share(value) * (self.right - self.left)

    def up(self, value: float) -> float:
        """Values outside stand at the edge."""
        return self.bottom - min(1.0, max(0.0, self.y.share(value))) * (self.bottom - self.top)

    def is_outside(self, value: float) -> bool:
        return math.isfinite(value) and not -1e-9 <= self.y.share(value) <= 1 + 1e-9


def svg(plot: Plot) -> Safe:
    """The picture. Where there is nothing to show it says so."""
    frame, keys = _Frame(plot), list(_keys(plot))
    height = HEIGHT + _LEGEND_LINE * (keys[-1][1] + 1 if keys else 0)
    if plot.is_empty:
        middle = (frame.left + frame.right) / 2
        return canvas(height, plot.title, text(middle, HEIGHT / 2, "nothing was recorded", "middle"))
    return canvas(
        height,
        plot.title,
        *_axes(frame, plot),
        *(_mark(frame, mark) for mark in plot.marks),
        *(_band(frame, band) for band in plot.bands),
        *(_curve(frame, curve) for curve in plot.curves),
        *(_dot(frame, dot) for dot in plot.dots),
        *_outside(frame, plot),
        *(_key(*key) for key in keys),
    )


def canvas(height: float, title: str, *parts: Safe) -> Safe:
    """A picture with its title, on paper of its own."""
    return tag(
        "svg",
        tag("rect", width=WIDTH, height=height, fill=INK["paper"][0], class_="paper"),
        text(_LEFT, 18, title, weight="600"),
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


def text(x: float, y: float, words: str, anchor: str = "start", ink: str = "text", **more: object) -> Safe:
    more = {f"font_{name}" if name in ("weight", "size") else name: value for name, value in more.items()}
    return tag("text", words, x=short(x), y=short(y), text_anchor=anchor, fill=INK[ink][0], class_=ink, **more)


def line(x1: float, y1: float, x2: float, y2: float, ink: str) -> Safe:
    ends = {"x1": short(x1), "y1": short(y1), "x2": short(x2), "y2": short(y2)}
    return tag("line", **ends, stroke=INK[ink][0], class_=f"{ink} line")


def colour_of(number: int) -> tuple[str, str]:
    """Of a series: its light colour and its class."""
    place = number % COLOURS
    return PALETTE[place][0], f"s{place}"


def short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


# --- axes -------------------------------------------------------------------------------------------


def _axes(frame: _Frame, plot: Plot) -> Iterator[Safe]:
    low, high = frame.y.low, frame.y.high
    ticks = scales.log_ticks(math.log10(low), math.log10(high), 7) if frame.y.log else scales.nice_ticks(low, high, 6)
    for value, label in zip(ticks, scales.labels(ticks), strict=True):
        yield line(frame.left, frame.up(value), frame.right, frame.up(value), "grid")
        yield text(frame.left - 6, frame.up(value) + 4, label, "end", "faint")
    ticks = [tick for tick in scales.nice_ticks(frame.x.low, frame.x.high, 8) if tick == round(tick)]  # steps, tokens
    for value, label in zip(ticks, scales.labels(ticks), strict=True):
        yield line(frame.across(value), frame.bottom, frame.across(value), frame.bottom + 4, "faint")
        yield text(frame.across(value), frame.bottom + 17, label, "middle", "faint")
    yield line(frame.left, frame.bottom, frame.right, frame.bottom, "faint")
    yield text(frame.right, frame.bottom + 34, plot.x_label, "end", "faint")
    y_label = plot.y_label + (", log scale" if frame.y.log else "")
    middle = (frame.top + frame.bottom) / 2
    yield text(0, 0, y_label, "middle", "faint", transform=f"translate(12 {short(middle)}) rotate(-90)")


# --- what was measured --------------------------------------------------------------------------------


def _stretches(x: list[float], *ys: list[float]) -> Iterator[list[int]]:
    """Places that follow each other and have values."""
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
    return "M" + "L".join(f"{short(x)} {short(y)}" for x, y in points)


def _curve(frame: _Frame, curve: Curve) -> Safe:
    colour, name = colour_of(curve.colour)
    paths, points = [], []
    for stretch in _stretches(curve.x, curve.y):
        line = [(frame.across(curve.x[place]), frame.up(curve.y[place])) for place in stretch]
        if len(line) > 1:
            paths.append(_path(line))
        else:
            (x, y), shape = line[0], {"r": _POINT, "fill": colour, "class_": f"{name} fill"}
            points.append(tag("circle", cx=short(x), cy=short(y), **shape))
    dash = "6 4" if curve.dashed else None
    look = {"fill": "none", "stroke": colour, "stroke_width": 1.8, "stroke_linejoin": "round", "stroke_dasharray": dash}
    lines = [tag("path", d="".join(paths), **look, stroke_linecap="round", class_=f"{name} line")] if paths else []
    return joined([*lines, *points])


def _band(frame: _Frame, band: Band) -> Safe:
    colour, name = colour_of(band.colour)
    paths = []
    for stretch in _stretches(band.x, band.low, band.high):
        upper = [(frame.across(band.x[place]), frame.up(band.high[place])) for place in stretch]
        lower = [(frame.across(band.x[place]), frame.up(band.low[place])) for place in reversed(stretch)]
        paths.append(_path([*upper, *lower]) + "Z")
    stroke = {"stroke": colour, "stroke_width": 0.6, "stroke_opacity": 0.35}  # a spike of one column is a line
    return tag("path", d="".join(paths), fill=colour, fill_opacity=0.18, **stroke, class_=f"{name} fill line")


def _dot(frame: _Frame, dot: Dot) -> Safe:
    if not math.isfinite(dot.y):
        return _mark(frame, Mark(dot.x, dot.x, dot.title, "broken"))
    colour, name = colour_of(dot.colour)
    place = {"cx": short(frame.across(dot.x)), "cy": short(frame.up(dot.y))}
    return tag("circle", tag("title", dot.title), **place, r=3, fill=colour, class_=f"{name} fill")


def _mark(frame: _Frame, mark: Mark) -> Safe:
    left, right = frame.across(mark.first), frame.across(mark.last)
    if mark.kind == "broken":
        width = max(_LEAST_MARK, right - left)
        shape = {"x": short(left - (width - right + left) / 2), "y": short(frame.top), "width": short(width)}
        height = short(frame.bottom - frame.top)
        return tag("rect", tag("title", mark.title), **shape, height=height, fill=INK["bad"][0], fill_opacity=0.35,
                   class_="broken bad fill")  # fmt: skip
    ends = {"x1": short(left), "x2": short(left), "y1": short(frame.top), "y2": short(frame.bottom)}
    return tag("line", tag("title", mark.title), **ends, stroke=INK["faint"][0], stroke_dasharray="2 3",
               class_="event faint line")  # fmt: skip


def _outside(frame: _Frame, plot: Plot) -> Iterator[Safe]:
    """A small arrow at the edge for what lies beyond it; neighbours share one."""
    series = [(curve.x, curve.y, curve.colour) for curve in plot.curves]
    for band in plot.bands:
        series += [(band.low_at or band.x, band.low, band.colour), (band.high_at or band.x, band.high, band.colour)]
    series += [([dot.x], [dot.y], dot.colour) for dot in plot.dots]
    worst: dict[tuple[int, bool], tuple[float, float, int]] = {}
    for xs, ys, colour in series:
        for x, y in zip(xs, ys, strict=True):
            if frame.is_outside(y):
                key = (round(frame.across(x) / 6), y > frame.y.high)
                if key not in worst or abs(y) >= abs(worst[key][1]):  # a band's place is exact, a curve's is not
                    worst[key] = (x, y, colour)
    for (_, above), (x, y, colour) in sorted(worst.items()):
        tip, base = (frame.top - 7, frame.top - 1) if above else (frame.bottom + 7, frame.bottom + 1)
        across = frame.across(x)
        shape = f"M{short(across)} {short(tip)}L{short(across - 4)} {short(base)}L{short(across + 4)} {short(base)}Z"
        fill, name = colour_of(colour)
        yield tag("path", tag("title", f"{y:.5g} at {x:,.0f}"), d=shape, fill=fill, class_=f"outside {name} fill")


# --- the legend -----------------------------------------------------------------------------------------


def _keys(plot: Plot) -> Iterator[tuple[float, int, str, str, Curve | None]]:
    """x, line, kind and words of each, as many on a line as fit."""
    entries: list[tuple[str, str, Curve | None]] = [("curve", curve.label, curve) for curve in plot.curves]
    entries += [(kind, words, None) for kind, words in plot.keys]
    x, row = float(_LEFT), 0
    for kind, words, curve in entries:
        words = words if len(words) <= _LONGEST_LABEL else words[: _LONGEST_LABEL - 1] + "…"
        width = 34 + _CHARACTER * len(words)
        if x > _LEFT and x + width > WIDTH - _RIGHT:
            x, row = float(_LEFT), row + 1
        yield x, row, kind, words, curve
        x += width


def _key(x: float, row: int, kind: str, words: str, curve: Curve | None) -> Safe:
    y = HEIGHT + _LEGEND_LINE * row + 4
    label = text(x + 22, y + 4, words, size=11)
    if curve:
        colour, name = colour_of(curve.colour)
        dash = "6 4" if curve.dashed else None
        stroke = {"stroke": colour, "stroke_width": 2.4, "stroke_dasharray": dash, "class_": f"{name} line"}
        return tag("g", tag("line", x1=short(x), y1=y, x2=short(x + 16), y2=y, **stroke), label)
    if kind == "dot":
        return tag("g", tag("circle", cx=short(x + 8), cy=y, r=3, fill=PALETTE[1][0], class_="s1 fill"), label)
    ink, opacity = ("bad", 0.35) if kind == "broken" else ("faint", 0.3)
    shape = {"x": short(x), "y": y - 5, "width": 16, "height": 10, "fill": INK[ink][0], "fill_opacity": opacity}
    return tag("g", tag("rect", **shape, class_=f"{ink} fill"), label)
