"""The sections of several runs side by side: what they reached, how, and the settings in which they differ."""

from collections.abc import Sequence

from engines.reports import plot_svg
from engines.reports.markup import Safe, paragraph, section, table
from engines.reports.page import figure
from engines.reports.run_plots import overlays
from engines.reports.run_report import Pictures
from engines.runs.comparison import compare_settings
from engines.runs.metrics import METRICS, metrics, told
from engines.runs.record import Record
from engines.runs.snapshot import describe_damage


def comparison_sections(records: Sequence[Record]) -> tuple[list[Safe], Pictures]:
    plots = overlays(records)
    pictures = [(plot.name, plot_svg.svg(plot)) for plot in plots]
    figures = [figure(svg, plot.caption) for plot, (_, svg) in zip(plots, pictures, strict=True)]
    names = [record.run.id for record in records]
    return [
        section("Side by side", table(("", *names), metric_rows(records)), *map(paragraph, damages(records))),
        section("Curves over each other", *figures),
        section("What differs", differences(records)),
    ], pictures


def damages(records: Sequence[Record]) -> list[str]:
    """Return a sentence for each run whose log could not be read completely."""
    return [sentence for record in records for sentence in describe_damage(record.run, record.history)]


def metric_rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    found = [metrics(record) for record in records]
    return [(metric.label, *(told(metric, values[metric.name]) for values in found)) for metric in METRICS]


def differences(records: Sequence[Record]) -> Safe:
    every = [setting.line for setting in compare_settings([record.config for record in records])]
    different = [line for line in every if line.differs]
    note = paragraph(f"{len(different)} of {len(every)} settings and origins.")
    others = [record.portable for record in records]
    rows = [(line.name, *(p.text(told) for p, told in zip(others, line.values, strict=True))) for line in different]
    return Safe(note + table(("", *(record.run.id for record in records)), rows))
