"""The plots of a study: a curve for each cell, with a band over its seeds."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from engines.ablation.analysis import Analysis, CellReport
from engines.reports.downsampling import parts, smoothed
from engines.reports.plot import Band, Curve, Plot
from engines.reports.run_plots import MOST_CURVES, OVERLAID_COLUMNS, is_second_round, sizes_differ, thinned, x_label
from engines.runs.metrics import number
from engines.runs.record import Record


class Trace(NamedTuple):
    """A curve of one seed. `x` are steps until they are scaled."""

    x: list[float]
    y: list[float]

    def scaled(self, factor: float) -> "Trace":
        return Trace([x * factor for x in self.x], self.y)

    def since(self, least: float) -> "Trace":
        first = bisect_left(self.x, least)
        return Trace(self.x[first:], self.y[first:])


class Seed(NamedTuple):
    """What of a run is drawn: so much is kept, however long it was."""

    tokens_a_step: float
    bpb: Trace
    loss: Trace


class Cell(NamedTuple):
    report: CellReport
    seeds: list[Seed]


def seed_of(record: Record) -> Seed:
    evals = thinned(record.history.evals)
    columns = parts(record.history.losses, OVERLAID_COLUMNS)
    return Seed(
        record.tokens_a_step,
        Trace([event["step"] for event in evals], [number(event["bpb"]) for event in evals]),
        Trace([part.middle for part in columns], smoothed(columns)),
    )


def chosen(analysis: Analysis) -> list[CellReport]:
    """As many as are told apart: the best, and the base wherever it stands."""
    cells = [cell for cell in analysis.cells if cell.results]
    shown = cells[:MOST_CURVES]
    base = next((cell for cell in cells if cell.name == analysis.base), None)
    return shown if base is None or base in shown else [*shown[:-1], base]


def study_plots(name: str, cells: Sequence[Cell], every: int) -> list[Plot]:
    """Of cells in their order; `every` is how many there are, drawn or not."""
    by_tokens = sizes_differ([seed.tokens_a_step for cell in cells for seed in cell.seeds])
    left = every - len(cells)
    more = f" Of {every} cells the best {len(cells)}, and the base." if left > 0 else ""
    caption = f"Line: mean over the seeds; band: from the least to the most of them.{more}"
    kinds = (("bpb", f"Validation bits per byte of {name}", "bits a byte"),
             ("loss", f"Training loss of {name}, smoothed", "nats a token"))  # fmt: skip
    found = []
    for (stem, title, unit), is_end in itertools.product(kinds, (False, True)):
        traces = [_traces(cell, stem, by_tokens) for cell in cells]
        if is_end:
            stem, title = f"{stem}-end", f"{title}: the last half"
            traces = _last_half(traces)
        pairs = [_over_seeds(_label(cell), of_cell, colour)
                 for colour, (cell, of_cell) in enumerate(zip(cells, traces, strict=True))]  # fmt: skip
        curves, bands = tuple(curve for curve, _ in pairs), tuple(band for _, band in pairs)
        found.append(Plot(stem, title, x_label(by_tokens), unit, curves, bands, caption=caption))
    return [plot for plot in found if not plot.is_empty or plot.name == kinds[0][0]]


def _traces(cell: Cell, stem: str, by_tokens: bool) -> list[Trace]:
    return [getattr(seed, stem).scaled(seed.tokens_a_step if by_tokens else 1.0) for seed in cell.seeds]


def _last_half(traces: Sequence[list[Trace]]) -> list[list[Trace]]:
    """What is left where all start alike no longer sets the scale."""
    ends = [trace.x[-1] for of_cell in traces for trace in of_cell if trace.x]
    middle = max(ends, default=0.0) / 2
    return [[trace.since(middle) for trace in of_cell] for of_cell in traces]


def _over_seeds(label: str, traces: Sequence[Trace], colour: int) -> tuple[Curve, Band]:
    """Where only some seeds went on, the mean is of these."""
    longest: list[float] = max((trace.x for trace in traces), key=len, default=[])
    rows = [_at(x, traces) for x in longest]
    mean = [math.fsum(row) / len(row) if row else math.nan for row in rows]
    low, high = ([pick(row, default=math.nan) for row in rows] for pick in (min, max))
    return Curve(label, longest, mean, colour, is_second_round(colour)), Band(longest, low, high, colour)


def _label(cell: Cell) -> str:
    whole = all(result.is_comparable for result in cell.report.results)
    return cell.report.name + ("" if whole else f" ({', '.join(cell.report.outcomes)})")


def _at(x: float, traces: Sequence[Trace]) -> list[float]:
    """The finite values of all seeds there. A run that ended early has other columns: its nearest one counts."""
    found = []
    for trace in traces:
        place = bisect_left(trace.x, x)
        near = [index for index in (place - 1, place) if 0 <= index < len(trace.x)]
        if not near or (place == len(trace.x) and x - trace.x[-1] > _width(trace) / 2):
            continue  # it had ended
        value = trace.y[min(near, key=lambda index: abs(trace.x[index] - x))]
        if math.isfinite(value):
            found.append(value)
    return found


def _width(trace: Trace) -> float:
    """Of a column."""
    return (trace.x[-1] - trace.x[0]) / max(1, len(trace.x) - 1)
