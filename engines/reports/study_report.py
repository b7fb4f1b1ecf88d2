"""The sections of a study: its question, cells with verdicts, curves over seeds, effects, and where it came from."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from engines.ablation.analysis import Analysis, analyse
from engines.ablation.markdown import build_cell_table, build_sections, describe_setup, explain_cell_table
from engines.ablation.plan import Job, Plan
from engines.ablation.settings import StudySettings
from engines.ablation.study import Study, describe_study_damage, load_results
from engines.ablation.tables import portable_paths
from engines.errors import UserError
from engines.reports import interval_svg, plot_svg
from engines.reports.markup import Safe, commands, inline, paragraph, section, table
from engines.reports.page import figure
from engines.reports.run_report import Pictures, environment, flags_of, samples, standing
from engines.reports.study_plots import Cell, chosen, seed_of, study_plots
from engines.runs import liveness
from engines.runs.comparison import format_setting as told_setting
from engines.runs.comparison import get_section
from engines.runs.history import read_history
from engines.runs.portable import FACT_OF, PortablePaths
from engines.runs.record import Record, read_record
from engines.settings.fields import fields

_UNITS = {"val_bpb": "bits a byte", "tokens_to_target": "tokens until the target"}


def study_sections(study: Study) -> tuple[list[Safe], Pictures]:
    """Everything about one study, and its pictures."""
    plan = study.plan
    results = load_results(study, plan)
    others = portable_paths(study, plan)
    plan, analysis = others.inside((plan, analyse(plan, results)))
    damage = describe_study_damage(study, read_history(study), results.values())
    cells, base = _cells(study, plan, analysis)
    curves = study_plots(study.id, cells, len(analysis.cells))
    pictures = [(plot.name, plot_svg.svg(plot)) for plot in curves]
    figures = [figure(svg, plot.caption) for plot, (_, svg) in zip(curves, pictures, strict=True)]
    intervals_of = _interval_pictures(study.id, analysis)
    setup, comparison = describe_setup(plan, analysis)
    explanation = explain_cell_table(plan, analysis)
    return [
        section("Question", *map(paragraph, map(inline, (setup, comparison))), *map(paragraph, damage)),
        section("Cells", _markdown_table(build_cell_table(analysis)), paragraph(inline(explanation))),
        section("Differences and effects", *(figure(svg) for _, svg in intervals_of)),
        section("Curves", *figures),
        *(
            section(found.title, paragraph(inline(found.text)) if found.text else "", _markdown_table(found.table))
            for found in build_sections(plan, analysis)
        ),
        section("What the cells change", _changes(plan)),
        section(f"Samples of {plan.base}", *(samples(base.history.samples) if base else [])),
        section("Environment", environment(base.handed_on) if base else _code(study.config)),
        section("How to reproduce it", commands(_how_to_reproduce(study))),
    ], [*intervals_of, *pictures]


def damages(study: Study) -> list[str]:
    """Return a sentence for the study and for each of its runs whose log could not be read completely."""
    return describe_study_damage(study, read_history(study), load_results(study, study.plan).values())


def lead(study: Study) -> Safe:
    """A study in a sentence."""
    plan = study.plan
    what = f"{len(plan.cells)} cells of {', '.join(axis.name for axis in plan.axes)}"
    return standing(liveness.derive_state(study, read_history(study)), what, study.config)


def _cells(study: Study, plan: Plan, analysis: Analysis) -> tuple[list[Cell], Record | None]:
    """What is drawn of the best cells, and the base's first run wholly. A run at a time is in memory."""
    cells, base = [], None
    for report in chosen(analysis):
        seeds = []
        for result in report.results:
            record = _record(study, result.job)
            if record:
                seeds.append(seed_of(record))
                base = record if base is None and report.name == plan.base else base
        cells.append(Cell(report, seeds))
    return cells, base


def _record(study: Study, job: Job) -> Record | None:
    """None for a run that was deleted, or that never had a manifest."""
    run = study.find_run(job)
    try:
        return read_record(run) if run else None
    except UserError:
        return None


def _interval_pictures(name: str, analysis: Analysis) -> Pictures:
    unit = _UNITS[analysis.metric]
    wanted = (
        ("differences", f"Cells of {name} against {analysis.base}", interval_svg.cell_rows(analysis)),
        ("effects", f"Effect of each axis of {name}", interval_svg.effect_rows(analysis.effects)),
        ("interactions", f"Interactions in {name}", interval_svg.effect_rows(analysis.interactions)),
    )
    return [(stem, interval_svg.svg(title, unit, rows)) for stem, title, rows in wanted if rows]


def _markdown_table(found: Any) -> Safe:
    return table(list(map(inline, found.head)), [list(map(inline, row)) for row in found.rows])


def _changes(plan: Plan) -> Safe:
    """A row a cell, a column an axis; a dash where it is the base's."""
    names = [axis.name for axis in plan.axes]
    rows = [
        [cell.name, *(told_setting(cell.changes[name]) if name in cell.changes else "–" for name in names)]
        for cell in plan.cells
    ]
    return table(["cell", *names], rows)


def _code(config: Mapping[str, Any]) -> Safe:
    return table((), [(f"code: {name}", told_setting(value)) for name, value in get_section(config, "code").items()])


def _how_to_reproduce(study: Study) -> list[str]:
    commit = get_section(study.config, "code").get("commit")
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    return [*lines, " ".join(["nanochat-tui --no-ui ablate", *_flags(study, study.plan)])]


def _flags(study: Study, plan: Plan) -> list[str]:
    """The plan as words of a command; its files by their names."""
    others = PortablePaths(study.results, {str(plan.given[name]): None for name in FACT_OF if name in plan.given})
    axes = [f"{axis.name}={','.join(others.text(told_setting(value)) for value in axis.values)}" for axis in plan.axes]
    known = fields(StudySettings)
    options = [
        f"{known[name].flag} {shlex.quote(told_setting(value))}"
        for name, value in dataclasses.asdict(plan.options).items()
        if value not in (known[name].default, None)
    ]
    return [*flags_of(plan.given, others), *(f"--axis {shlex.quote(axis)}" for axis in axes), *options]
