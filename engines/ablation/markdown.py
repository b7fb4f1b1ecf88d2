"""Markdown report of a study: the question, the cells compared with the base, effects, and failed runs."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engines.ablation.analysis import MIN_PAIRS, NOT_TESTABLE, Analysis, CellReport, compute_mean_score
from engines.ablation.effects import Effect
from engines.ablation.formatting import (
    format_comparisons,
    format_difference,
    format_integer,
    format_p,
    format_spread,
    format_value,
    format_verdict,
)
from engines.ablation.plan import Plan
from engines.ablation.results import RunResult
from engines.ablation.statistics import ALPHA, CONFIDENCE

_METRICS = {
    "val_bpb": "validation bits per byte at the end of the run",
    "tokens_to_target": "training tokens until the target is reached",
}


class Table(NamedTuple):
    """Column headings and rows of cells, as Markdown text."""

    head: list[str]
    rows: list[list[str]]


class Section(NamedTuple):
    """A titled table with an introduction, as Markdown text; the HTML report contains the same sections."""

    title: str
    text: str
    table: Table


def render_markdown(name: str, plan: Plan, analysis: Analysis, config: Mapping[str, Any]) -> str:
    """Render the report of a study. `config` is its plan.json, which names the code that made it."""
    setup, comparison = describe_setup(plan, analysis)
    lines = [
        f"# Ablation {name}",
        "",
        setup,
        "",
        comparison,
        "",
        *_render_table(build_cell_table(analysis)),
        "",
        explain_cell_table(plan, analysis),
        "",
    ]
    for section in build_sections(plan, analysis):
        text = [section.text, ""] if section.text else []
        lines += [f"## {section.title}", "", *text, *_render_table(section.table), ""]
    return "\n".join([*lines, *_render_provenance(config)]).rstrip() + "\n"


def build_sections(plan: Plan, analysis: Analysis) -> list[Section]:
    """Return the sections that follow the table of cells, without empty ones."""
    sections = [
        _build_effects("Main effects", analysis.effects),
        _build_effects("Interaction effects", analysis.interactions),
        *_build_two_way_means(plan, analysis),
        _build_failures(analysis),
        _build_dropped(plan),
        _build_runs(analysis),
    ]
    return [section for section in sections if section.table.rows]


def describe_setup(plan: Plan, analysis: Analysis) -> tuple[str, str]:
    """Return a paragraph about the setup of the study, and a sentence about how cells are compared."""
    axes = "; ".join(f"`{axis.name}` = {', '.join(map(format_value, axis.values))}" for axis in plan.axes)
    base = ", ".join(f"{name} {format_value(value)}" for name, value in plan.given.items()) or "default settings"
    design = plan.options.pick + (f" with halving on {len(plan.rungs)} rungs" if plan.options.halving else "")
    return (
        f"Base: {base}. Axes: {axes}. Cells: {len(plan.cells)} ({design}), each with "
        f"{len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)} ({', '.join(map(str, plan.seeds))}). "
        f"Done: {analysis.done} of {analysis.total} runs.",
        f"Cells are compared with `{analysis.base}` by {_METRICS[analysis.metric]} (lower is better), paired by seed.",
    )


def build_cell_table(analysis: Analysis) -> Table:
    """Return the table of cells, the best first."""
    percent = round(100 * CONFIDENCE)
    head = ["", "cell", "seeds", "val bpb", "best bpb", f"difference from base [{percent} % confidence interval]",
            "p (Holm-adjusted)", "verdict", "tokens to target", "s to target", "tokens/s", "parameters"]  # fmt: skip
    return Table(head, [_build_cell_row(rank, cell) for rank, cell in enumerate(analysis.cells, 1)])


def _build_cell_row(rank: int, cell: CellReport) -> list[str]:
    return [
        str(rank),
        f"`{cell.name}`",
        str(len(cell.results)),
        format_spread(cell.val_bpb),
        format_spread(cell.best_bpb),
        format_difference(cell.difference),
        format_p(cell.p_corrected),
        f"**{cell.verdict}**" if cell.verdict in ("better", "worse") else format_verdict(cell),
        format_integer(cell.tokens_to_target.mean if cell.tokens_to_target else None),
        f"{cell.seconds_to_target.mean:.3g}" if cell.seconds_to_target else "",
        format_integer(cell.mean("tokens_per_second")),
        format_integer(cell.mean("parameters")),
    ]


def explain_cell_table(plan: Plan, analysis: Analysis) -> str:
    """Return a paragraph that explains the columns and verdicts of the table of cells."""
    comparisons = format_comparisons(analysis)
    target = "" if analysis.target_bpb is None else f" The target is {analysis.target_bpb:.4f} bits per byte."
    halving = (
        " The cells of the last rung were selected by the same seeds: the adjustment counts every cell that entered "
        "the selection, but the differences of those that passed it are slightly optimistic."
        if len(plan.rungs) > 1
        else ""
    )
    return (
        f"Mean ± standard deviation over seeds. {comparisons} with the base at a family-wise error rate of "
        f"{ALPHA:.2g}: p-values are those of Student's t-test on the paired differences, "
        f"Holm-adjusted for {comparisons}. "
        f"The confidence intervals are adjusted too: an interval excludes zero exactly if the verdict is better or "
        f'worse. "No difference shown" means that the difference is within the noise between seeds, not that there is '
        f'none; "{NOT_TESTABLE}" means that every seed differs by the same amount, so there is no noise to compare '
        f"with; cells with fewer than {MIN_PAIRS} seeds get no verdict.{target}{halving}"
    )


def _build_effects(title: str, effects: Sequence[Effect]) -> Section:
    rows = [
        [
            " × ".join(
                f"`{name}` {format_value(value)}" for name, value in zip(effect.axes, effect.values, strict=True)
            ),
            " × ".join(map(format_value, effect.instead_of)),
            format_difference(effect.difference),
        ]
        for effect in effects
    ]
    explained = (
        "The effect of both values together minus the sum of their separate effects. Confidence intervals are adjusted "
        "for the number of rows."
        if effects and len(effects[0].axes) > 1
        else "Averaged over the other axes. Confidence intervals are adjusted for the number of rows."
    )
    return Section(title, explained, Table(["value", "instead of", "difference"], rows))


def _build_two_way_means(plan: Plan, analysis: Analysis) -> Iterator[Section]:
    """Yield, for each pair of axes of a full grid, the mean score for each pair of values."""
    for one, other in itertools.combinations(plan.axes, 2) if analysis.effects else ():
        rows = []
        for a in one.values:
            means = (compute_mean_score(analysis, {one.name: a, other.name: b}) for b in other.values)
            rows.append(
                [format_value(a), *("" if mean is None else format_score(analysis.metric, mean) for mean in means)]
            )
        head = ["", *(f"`{other.name}` {format_value(b)}" for b in other.values)]
        text = f"Means of {_METRICS[analysis.metric]} over the seeds and all other axes. Rows: `{one.name}`."
        yield Section(f"{one.name} × {other.name}", text, Table(head, rows))


def format_score(metric: str, value: float) -> str:
    """Format a score of this metric."""
    return f"{value:.4f}" if metric == "val_bpb" else format_integer(value)


def _build_failures(analysis: Analysis) -> Section:
    rows = [
        [f"`{cell.name}`", str(result.job.seed), result.outcome, result.detail or "", result.run]
        for cell in analysis.cells
        for result in cell.results
        if not result.is_comparable
    ]
    return Section("Runs without a result", "", Table(["cell", "seed", "outcome", "reason", "run"], rows))


def _build_dropped(plan: Plan) -> Section:
    rows = [[f"`{one.name}`", one.reason] for one in plan.dropped]
    return Section("Combinations that were not trained", "", Table(["combination", "reason"], rows))


def _build_runs(analysis: Analysis) -> Section:
    rows = [[f"`{cell.name}`", ", ".join(map(_describe_run, cell.results))] for cell in analysis.cells if cell.results]
    return Section("Runs", "", Table(["cell", "runs"], rows))


def _describe_run(result: RunResult) -> str:
    score = "" if result.val_bpb is None else f" {result.val_bpb:.4f}"
    return f"{result.run or 'none'} (seed {result.job.seed}{score})"


def _render_provenance(config: Mapping[str, Any]) -> list[str]:
    code = config.get("code", {})
    return [
        "## How to reproduce",
        "",
        f"Made with nanochat-tui {code.get('nanochat_tui')}, commit {code.get('commit')}, Python {code.get('python')}. "
        "Run the study again with the plan.json of its directory: `nanochat-tui --no-ui ablate --config plan.json`.",
    ]


def _render_table(table: Table) -> list[str]:
    rule = ["---"] * len(table.head)
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (table.head, rule, *table.rows)]
