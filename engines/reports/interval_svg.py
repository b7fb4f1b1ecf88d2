"""Differences with their intervals as SVG: what each cell, or each axis, does against the base."""

from collections.abc import Sequence
from typing import NamedTuple

from engines.ablation.analysis import Analysis
from engines.ablation.effects import Effect
from engines.ablation.formatting import format_difference, format_value
from engines.ablation.statistics import PairedDifference
from engines.reports import scales
from engines.reports.markup import Safe, tag
from engines.reports.plot import Scale
from engines.reports.plot_svg import PALETTE, WIDTH, canvas, line, short, text

MOST_ROWS = 40
_ROW, _TOP, _BOTTOM, _LEFT, _RIGHT = 22, 34, 40, 250, 220
_FAR_OUT = 6.0  # times the middle reach: so far out a row is cut, or all others would be dots at zero
_LONGEST_NAME = 36
_COLOURS = {"better": 2, "worse": 1}
_PLAIN = 6


class Row(NamedTuple):
    name: str
    difference: PairedDifference
    verdict: str

    @property
    def ends(self) -> tuple[float, float]:
        mean = self.difference.spread.mean
        low, high = self.difference.low, self.difference.high
        return (mean if low is None else low, mean if high is None else high)


def cell_rows(analysis: Analysis) -> list[Row]:
    """The cells that can be compared, ranked."""
    return [Row(cell.name, cell.difference, cell.verdict) for cell in analysis.cells if cell.difference]


def effect_rows(effects: Sequence[Effect]) -> list[Row]:
    """Not judged: the table of cells is where comparisons are counted."""
    return [
        Row(
            " × ".join(f"{name} {format_value(value)}" for name, value in zip(effect.axes, effect.values, strict=True)),
            effect.difference,
            "",
        )
        for effect in effects
    ]


def svg(title: str, unit: str, rows: Sequence[Row]) -> Safe:
    rows = rows[:MOST_ROWS]
    bottom = _TOP + _ROW * len(rows)
    scale = _scale(rows)
    ticks = scales.nice_ticks(scale.low, scale.high, 6)
    parts = [line(_across(scale, tick), _TOP, _across(scale, tick), bottom, "grid") for tick in ticks]
    for tick, label in zip(ticks, scales.labels(ticks), strict=True):
        parts.append(text(_across(scale, tick), bottom + 16, label, "middle", "faint"))
    parts.append(line(_across(scale, 0.0), _TOP, _across(scale, 0.0), bottom, "faint"))
    parts.append(text(WIDTH - _RIGHT, bottom + 34, f"difference in {unit}: left is better", "end", "faint"))
    parts += [_row(scale, row, _TOP + _ROW * (place + 0.5)) for place, row in enumerate(rows)]
    return canvas(bottom + _BOTTOM, title, *parts)


def _scale(rows: Sequence[Row]) -> Scale:
    """From least to most, zero included."""
    reaches = sorted(max(map(abs, row.ends)) for row in rows)
    most = _FAR_OUT * reaches[len(reaches) // 2] if rows else 0.0
    ends = [min(most, max(-most, end)) for row in rows for end in row.ends] if most else [0.0]
    low, high = min(0.0, *ends), max(0.0, *ends)
    pad = (high - low) / 20 or 1.0
    return Scale(low - pad, high + pad, False)


def _across(scale: Scale, value: float) -> float:
    return _LEFT + min(1.0, max(0.0, scale.share(value))) * (WIDTH - _RIGHT - _LEFT)


def _row(scale: Scale, row: Row, y: float) -> Safe:
    name = row.name if len(row.name) <= _LONGEST_NAME else row.name[: _LONGEST_NAME - 1] + "…"
    place = _COLOURS.get(row.verdict, _PLAIN)
    colour, series = PALETTE[place][0], f"s{place}"
    (low, high), mean = row.ends, row.difference.spread.mean
    left, right = _across(scale, low), _across(scale, high)
    bar = tag("line", x1=short(left), x2=short(right), y1=short(y), y2=short(y), stroke=colour, stroke_width=2,
              class_=f"{series} line")  # fmt: skip
    arrows = [_arrow(x, y, way, colour, series) for x, way, out in
              ((left, -1, low < scale.low), (right, 1, high > scale.high)) if out]  # fmt: skip
    dot = tag("circle", cx=short(_across(scale, mean)), cy=short(y), r=4, fill=colour, class_=f"{series} fill")
    told = tag("title", f"{row.name}: {format_difference(row.difference)} {row.verdict}".strip())
    words = [text(_LEFT - 10, y + 4, name, "end"), text(WIDTH - 6, y + 4, format_difference(row.difference), "end")]
    return tag("g", told, *words, bar, *arrows, *([] if abs(mean) > _edge(scale) else [dot]))


def _edge(scale: Scale) -> float:
    return max(abs(scale.low), abs(scale.high))


def _arrow(x: float, y: float, way: int, colour: str, series: str) -> Safe:
    """It goes on beyond the picture."""
    shape = f"M{short(x + 6 * way)} {short(y)}L{short(x - 2 * way)} {short(y - 5)}L{short(x - 2 * way)} {short(y + 5)}Z"
    return tag("path", d=shape, fill=colour, class_=f"outside {series} fill")
