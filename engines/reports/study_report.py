"""The sections of the report of a study: setup, cells with verdicts, effects, curves, and how to reproduce it."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from engines.ablation.analysis import Analysis, analyse
from engines.ablation.markdown import (
    Section,
    Table,
    build_cell_table,
    build_sections,
    describe_setup,
    explain_cell_table,
)
from engines.ablation.plan import Job, Plan
from engines.ablation.settings import StudySettings
from engines.ablation.study import Study, describe_study_damage, load_results
from engines.ablation.tables import portable_paths
from engines.errors import UserError
from engines.reports.interval_svg import draw_intervals, list_cell_rows, list_effect_rows
from engines.reports.markup import Safe, render_commands, render_inline, render_paragraph, render_section, render_table
from engines.reports.page import render_figure
from engines.reports.plot_svg import draw_plot
from engines.reports.run_report import Figures, format_flags, render_environment, render_samples, render_state
from engines.reports.study_plots import CellData, collect_seed_data, plot_study, select_cells
from engines.runs import liveness
from engines.runs.comparison import format_setting, get_section
from engines.runs.history import read_history
from engines.runs.portable import FACT_OF, PortablePaths
from engines.runs.record import RunRecord, read_record
from engines.settings.fields import fields

_UNITS = {"val_bpb": "bits per byte", "tokens_to_target": "tokens to target"}


def render_sections(study: Study) -> tuple[list[Safe], Figures]:
    """Render all sections and plots of a study."""
    plan = study.plan
    results = load_results(study, plan)
    plan, analysis = portable_paths(study, plan).inside((plan, analyse(plan, results)))
    damage = describe_study_damage(study, read_history(study), results.values())
    cells, base = _collect_cells(study, plan, analysis)
    plots = plot_study(study.id, cells, len(analysis.cells))
    curves = [(plot.name, draw_plot(plot)) for plot in plots]
    captioned = [render_figure(svg, plot.caption) for plot, (_, svg) in zip(plots, curves, strict=True)]
    intervals = _draw_interval_figures(study.id, analysis)
    setup, comparison = describe_setup(plan, analysis)
    setup_text = [*map(render_inline, (setup, comparison)), *damage]
    explanation = render_paragraph(render_inline(explain_cell_table(plan, analysis)))
    return [
        render_section("Setup", *map(render_paragraph, setup_text)),
        render_section("Cells", _render_markdown_table(build_cell_table(analysis)), explanation),
        render_section("Differences and effects", *(render_figure(svg) for _, svg in intervals)),
        render_section("Curves", *captioned),
        *map(_render_markdown_section, build_sections(plan, analysis)),
        render_section("Settings of each cell", _render_changes(plan)),
        render_section(f"Samples of {plan.base}", *(render_samples(base.history.samples) if base else [])),
        render_section("Environment", render_environment(base.shareable) if base else _render_code(study.config)),
        render_section("How to reproduce", render_commands(_list_reproduction_commands(study))),
    ], [*intervals, *curves]


def describe_damage(study: Study) -> list[str]:
    """Return a sentence for the study and for each of its runs whose log could not be read completely."""
    return describe_study_damage(study, read_history(study), load_results(study, study.plan).values())


def render_lead(study: Study) -> Safe:
    """Describe a study in one sentence."""
    plan = study.plan
    subject = f"{len(plan.cells)} cells of {', '.join(axis.name for axis in plan.axes)}"
    return render_state(liveness.derive_state(study, read_history(study)), subject, study.config)


def _collect_cells(study: Study, plan: Plan, analysis: Analysis) -> tuple[list[CellData], RunRecord | None]:
    """Return the curves of the cells to plot, and the complete first run of the base.

    Runs are read one after another, so that only the curves of a study are in memory.
    """
    cells, base = [], None
    for report in select_cells(analysis):
        seeds = []
        for result in report.results:
            record = _read_record(study, result.job)
            if record:
                seeds.append(collect_seed_data(record))
                base = record if base is None and report.name == plan.base else base
        cells.append(CellData(report, seeds))
    return cells, base


def _read_record(study: Study, job: Job) -> RunRecord | None:
    """Return the run of a job; None if it was deleted or has no readable manifest."""
    run = study.find_run(job)
    try:
        return read_record(run) if run else None
    except UserError:
        return None


def _draw_interval_figures(name: str, analysis: Analysis) -> Figures:
    unit = _UNITS[analysis.metric]
    figures = (
        ("differences", f"Differences from {analysis.base} in {name}", list_cell_rows(analysis)),
        ("effects", f"Main effects in {name}", list_effect_rows(analysis.effects)),
        ("interactions", f"Interaction effects in {name}", list_effect_rows(analysis.interactions)),
    )
    return [(stem, draw_intervals(title, unit, rows)) for stem, title, rows in figures if rows]


def _render_markdown_section(section: Section) -> Safe:
    text = render_paragraph(render_inline(section.text)) if section.text else ""
    return render_section(section.title, text, _render_markdown_table(section.table))


def _render_markdown_table(table: Table) -> Safe:
    return render_table(list(map(render_inline, table.head)), [list(map(render_inline, row)) for row in table.rows])


def _render_changes(plan: Plan) -> Safe:
    """Render a row per cell and a column per axis, with a dash for the value of the base."""
    names = [axis.name for axis in plan.axes]
    rows = [
        [cell.name, *(format_setting(cell.changes[name]) if name in cell.changes else "–" for name in names)]
        for cell in plan.cells
    ]
    return render_table(["cell", *names], rows)


def _render_code(config: Mapping[str, Any]) -> Safe:
    code = get_section(config, "code")
    return render_table((), [(f"code: {name}", format_setting(value)) for name, value in code.items()])


def _list_reproduction_commands(study: Study) -> list[str]:
    commit = get_section(study.config, "code").get("commit")
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    return [*lines, " ".join(["nanochat-tui --no-ui ablate", *_format_plan_flags(study, study.plan)])]


def _format_plan_flags(study: Study, plan: Plan) -> list[str]:
    """Return a plan as command-line options; its files are given by their names."""
    paths = PortablePaths(study.results, {str(plan.given[name]): None for name in FACT_OF if name in plan.given})
    axes = [f"{axis.name}={','.join(paths.text(format_setting(value)) for value in axis.values)}" for axis in plan.axes]
    known = fields(StudySettings)
    options = [
        f"{known[name].flag} {shlex.quote(format_setting(value))}"
        for name, value in dataclasses.asdict(plan.options).items()
        if value not in (known[name].default, None)
    ]
    return [*format_flags(plan.given, paths), *(f"--axis {shlex.quote(axis)}" for axis in axes), *options]
