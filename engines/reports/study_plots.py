"""The plots of a study: a curve for each cell, with a band over its seeds."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from engines.ablation.analysis import Analysis, CellReport
from engines.reports.downsampling import smooth_means, split_into_bins
from engines.reports.plot import Band, Curve, PlotData
from engines.reports.run_plots import (
    BITS,
    MAX_CURVES,
    MAX_OVERLAID_BINS,
    NATS,
    have_different_sizes,
    is_repeated,
    thin_out,
    x_label,
)
from engines.runs.metrics import to_float
from engines.runs.record import RunRecord


class SeedCurve(NamedTuple):
    """A curve of one seed; `x` are steps until they are scaled."""

    x: list[float]
    y: list[float]

    def scale_x(self, factor: float) -> "SeedCurve":
        """Return the curve with every x multiplied by a factor."""
        return SeedCurve([x * factor for x in self.x], self.y)

    def cut_before(self, x: float) -> "SeedCurve":
        """Return the part of the curve from `x` on."""
        first = bisect_left(self.x, x)
        return SeedCurve(self.x[first:], self.y[first:])


class SeedData(NamedTuple):
    """The downsampled curves of one run, so that a study of long runs fits into memory."""

    tokens_per_step: float
    bpb: SeedCurve
    loss: SeedCurve


class CellData(NamedTuple):
    """A cell with the curves of its seeds."""

    report: CellReport
    seeds: list[SeedData]


def collect_seed_data(record: RunRecord) -> SeedData:
    """Return the curves of a run."""
    evals = thin_out(record.history.evals)
    bins = split_into_bins(record.history.losses, MAX_OVERLAID_BINS)
    return SeedData(
        record.tokens_per_step,
        SeedCurve([event["step"] for event in evals], [to_float(event["bpb"]) for event in evals]),
        SeedCurve([each.middle for each in bins], smooth_means(bins)),
    )


def select_cells(analysis: Analysis) -> list[CellReport]:
    """Return the cells to plot: the best ones, and the base cell whatever its rank."""
    cells = [cell for cell in analysis.cells if cell.results]
    shown = cells[:MAX_CURVES]
    base = next((cell for cell in cells if cell.name == analysis.base), None)
    return shown if base is None or base in shown else [*shown[:-1], base]


def plot_study(name: str, cells: Sequence[CellData], cell_count: int) -> list[PlotData]:
    """Return the plots of a study. `cell_count` includes the cells that are not plotted."""
    by_tokens = have_different_sizes([seed.tokens_per_step for cell in cells for seed in cell.seeds])
    note = f" Shown: the best {len(cells)} of {cell_count} cells, and the base." if cell_count > len(cells) else ""
    caption = f"Line: mean over seeds. Band: minimum to maximum over seeds.{note}"
    quantities = (
        ("bpb", f"Validation bits per byte of {name}", BITS),
        ("loss", f"Smoothed training loss of {name}", NATS),
    )
    plots = []
    for (stem, title, unit), is_second_half in itertools.product(quantities, (False, True)):
        curves_of_cells = [_seed_curves(cell, stem, by_tokens) for cell in cells]
        if is_second_half:
            stem, title = f"{stem}-end", f"{title}: second half"
            curves_of_cells = _cut_first_half(curves_of_cells)
        pairs = [
            _average_seeds(_cell_label(cell), curves, colour)
            for colour, (cell, curves) in enumerate(zip(cells, curves_of_cells, strict=True))
        ]
        curves, bands = tuple(curve for curve, _ in pairs), tuple(band for _, band in pairs)
        plots.append(PlotData(stem, title, x_label(by_tokens), unit, curves, bands, caption=caption))
    return [plot for plot in plots if not plot.is_empty or plot.name == "bpb"]


def _seed_curves(cell: CellData, quantity: str, by_tokens: bool) -> list[SeedCurve]:
    return [getattr(seed, quantity).scale_x(seed.tokens_per_step if by_tokens else 1.0) for seed in cell.seeds]


def _cut_first_half(curves_of_cells: Sequence[list[SeedCurve]]) -> list[list[SeedCurve]]:
    """Return the second half of all curves, where the steep start does not determine the y axis."""
    ends = [curve.x[-1] for curves in curves_of_cells for curve in curves if curve.x]
    middle = max(ends, default=0.0) / 2
    return [[curve.cut_before(middle) for curve in curves] for curves in curves_of_cells]


def _average_seeds(label: str, curves: Sequence[SeedCurve], colour: int) -> tuple[Curve, Band]:
    """Return mean and range over seeds. After the end of a seed, they are those of the remaining seeds."""
    longest: list[float] = max((curve.x for curve in curves), key=len, default=[])
    rows = [_values_at(x, curves) for x in longest]
    mean = [math.fsum(row) / len(row) if row else math.nan for row in rows]
    low, high = ([choose(row, default=math.nan) for row in rows] for choose in (min, max))
    return Curve(label, longest, mean, colour, is_repeated(colour)), Band(longest, low, high, colour)


def _cell_label(cell: CellData) -> str:
    is_complete = all(result.is_comparable for result in cell.report.results)
    return cell.report.name + ("" if is_complete else f" ({', '.join(cell.report.outcomes)})")


def _values_at(x: float, curves: Sequence[SeedCurve]) -> list[float]:
    """Return the finite values of all seeds at the point nearest to `x`: seeds that ended early have other bins."""
    values = []
    for curve in curves:
        index = bisect_left(curve.x, x)
        neighbours = [near for near in (index - 1, index) if 0 <= near < len(curve.x)]
        has_ended = index == len(curve.x) and bool(neighbours) and x - curve.x[-1] > _bin_width(curve) / 2
        if not neighbours or has_ended:
            continue
        value = curve.y[min(neighbours, key=lambda near: abs(curve.x[near] - x))]
        if math.isfinite(value):
            values.append(value)
    return values


def _bin_width(curve: SeedCurve) -> float:
    return (curve.x[-1] - curve.x[0]) / max(1, len(curve.x) - 1)
