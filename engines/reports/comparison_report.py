"""The sections of a comparison of runs: results, overlaid curves, and the settings that differ."""

from collections.abc import Sequence

from engines.reports.markup import Safe, render_paragraph, render_section, render_table
from engines.reports.page import render_figure
from engines.reports.plot_svg import draw_plot
from engines.reports.run_plots import plot_overlaid
from engines.reports.run_report import Figures
from engines.runs.comparison import compare_settings
from engines.runs.metrics import METRICS, compute_metrics, format_metric
from engines.runs.record import RunRecord
from engines.runs.snapshot import describe_damage


def render_comparison(records: Sequence[RunRecord]) -> tuple[list[Safe], Figures]:
    """Render the sections and the plots of a comparison."""
    plots = plot_overlaid(records)
    figures = [(plot.name, draw_plot(plot)) for plot in plots]
    captioned = [render_figure(svg, plot.caption) for plot, (_, svg) in zip(plots, figures, strict=True)]
    names = [record.run.id for record in records]
    damage = map(render_paragraph, describe_damages(records))
    return [
        render_section("Results", render_table(("", *names), list_metric_rows(records)), *damage),
        render_section("Overlaid curves", *captioned),
        render_section("Settings that differ", _render_differences(records)),
    ], figures


def describe_damages(records: Sequence[RunRecord]) -> list[str]:
    """Return a sentence for each run whose log could not be read completely."""
    return [sentence for record in records for sentence in describe_damage(record.run, record.history)]


def list_metric_rows(records: Sequence[RunRecord]) -> list[tuple[str, ...]]:
    """Return a row for each metric: its label, and its value in each run."""
    values_of_runs = [compute_metrics(record) for record in records]
    return [
        (metric.label, *(format_metric(metric, values[metric.name]) for values in values_of_runs)) for metric in METRICS
    ]


def _render_differences(records: Sequence[RunRecord]) -> Safe:
    lines = [setting.line for setting in compare_settings([record.config for record in records])]
    different = [line for line in lines if line.differs]
    note = render_paragraph(f"{len(different)} of {len(lines)} settings and origins differ.")
    paths = [record.portable for record in records]
    rows = [
        (line.name, *(portable.text(value) for portable, value in zip(paths, line.values, strict=True)))
        for line in different
    ]
    return Safe(note + render_table(("", *(record.run.id for record in records)), rows))
