"""Differences with their confidence intervals as SVG: of each cell, or each axis, from the base."""

from collections.abc import Sequence
from typing import NamedTuple

from engines.ablation.analysis import Analysis
from engines.ablation.effects import Effect
from engines.ablation.formatting import format_difference, format_value
from engines.ablation.statistics import CONFIDENCE, PairedDifference
from engines.output.ticks import labels, nice_ticks
from engines.reports.colours import series_colour
from engines.reports.markup import Safe, tag
from engines.reports.plot import Scale
from engines.reports.plot_svg import WIDTH, draw_canvas, draw_line, draw_text, fmt

MAX_ROWS = 40
_ROW, _TOP, _BOTTOM, _LEFT, _RIGHT = 22, 34, 40, 250, 220
_MAX_REACH = 6.0  # times the median reach; rows beyond it are cut off, or all others would be dots at zero
_MAX_NAME = 36  # characters
_VERDICT_COLOURS = {"better": 2, "worse": 1}
_NEUTRAL_COLOUR = 6


class IntervalRow(NamedTuple):
    """A named difference; `verdict` is empty if it is not tested."""

    name: str
    difference: PairedDifference
    verdict: str

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval, or the mean if there is none."""
        mean = self.difference.spread.mean
        low, high = self.difference.low, self.difference.high
        return (mean if low is None else low, mean if high is None else high)


def list_cell_rows(analysis: Analysis) -> list[IntervalRow]:
    """Return a row for each cell that can be compared with the base, the best first."""
    return [IntervalRow(cell.name, cell.difference, cell.verdict) for cell in analysis.cells if cell.difference]


def list_effect_rows(effects: Sequence[Effect]) -> list[IntervalRow]:
    """Return a row for each effect. Effects have no verdict: comparisons are counted in the table of cells."""
    return [
        IntervalRow(
            " × ".join(f"{name} {format_value(value)}" for name, value in zip(effect.axes, effect.values, strict=True)),
            effect.difference,
            "",
        )
        for effect in effects
    ]


def draw_intervals(title: str, unit: str, rows: Sequence[IntervalRow]) -> Safe:
    """Draw the first MAX_ROWS rows, each with its name, interval, mean and figures."""
    rows = rows[:MAX_ROWS]
    bottom = _TOP + _ROW * len(rows)
    scale = _choose_scale(rows)
    ticks = nice_ticks(scale.low, scale.high, 6)
    parts = [draw_line(_x_pixel(scale, tick), _TOP, _x_pixel(scale, tick), bottom, "grid") for tick in ticks]
    for tick, label in zip(ticks, labels(ticks), strict=True):
        parts.append(draw_text(_x_pixel(scale, tick), bottom + 16, label, "middle", "faint"))
    parts.append(draw_line(_x_pixel(scale, 0.0), _TOP, _x_pixel(scale, 0.0), bottom, "faint"))
    label = f"difference in {unit}, {100 * CONFIDENCE:.0f} % confidence interval; left is better"
    parts.append(draw_text(WIDTH - _RIGHT, bottom + 34, label, "end", "faint"))
    parts += [_draw_row(scale, row, _TOP + _ROW * (index + 0.5)) for index, row in enumerate(rows)]
    return draw_canvas(bottom + _BOTTOM, title, *parts)


def _choose_scale(rows: Sequence[IntervalRow]) -> Scale:
    """Return a scale that includes zero and, unless they reach too far, all intervals."""
    reaches = sorted(max(map(abs, row.ends)) for row in rows)
    limit = _MAX_REACH * reaches[len(reaches) // 2] if rows else 0.0
    ends = [min(limit, max(-limit, end)) for row in rows for end in row.ends] if limit else [0.0]
    low, high = min(0.0, *ends), max(0.0, *ends)
    pad = (high - low) / 20 or 1.0
    return Scale(low - pad, high + pad, False)


def _x_pixel(scale: Scale, value: float) -> float:
    return _LEFT + min(1.0, max(0.0, scale.position(value))) * (WIDTH - _RIGHT - _LEFT)


def _draw_row(scale: Scale, row: IntervalRow, y: float) -> Safe:
    name = row.name if len(row.name) <= _MAX_NAME else row.name[: _MAX_NAME - 1] + "…"
    colour, series = series_colour(_VERDICT_COLOURS.get(row.verdict, _NEUTRAL_COLOUR))
    (low, high), mean = row.ends, row.difference.spread.mean
    left, right = _x_pixel(scale, low), _x_pixel(scale, high)
    bar = tag("line", x1=fmt(left), x2=fmt(right), y1=fmt(y), y2=fmt(y), stroke=colour, stroke_width=2,
              class_=f"{series} line")  # fmt: skip
    arrows = [_draw_arrow(x, y, direction, colour, series) for x, direction, is_cut in
              ((left, -1, low < scale.low), (right, 1, high > scale.high)) if is_cut]  # fmt: skip
    dot = tag("circle", cx=fmt(_x_pixel(scale, mean)), cy=fmt(y), r=4, fill=colour, class_=f"{series} fill")
    is_dot_visible = abs(mean) <= max(abs(scale.low), abs(scale.high))
    figures = format_difference(row.difference)
    tooltip = tag("title", f"{row.name}: {figures} {row.verdict}".strip())
    texts = [draw_text(_LEFT - 10, y + 4, name, "end"), draw_text(WIDTH - 6, y + 4, figures, "end")]
    return tag("g", tooltip, *texts, bar, *arrows, *([dot] if is_dot_visible else []))


def _draw_arrow(x: float, y: float, direction: int, colour: str, series: str) -> Safe:
    """Draw the end of an interval that continues beyond the axis."""
    tip, back = fmt(x + 6 * direction), fmt(x - 2 * direction)
    shape = f"M{tip} {fmt(y)}L{back} {fmt(y - 5)}L{back} {fmt(y + 5)}Z"
    return tag("path", d=shape, fill=colour, class_=f"outside {series} fill")
