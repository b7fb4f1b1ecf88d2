"""A study's report for people: what was asked, which cells differ from the base by more than noise, and what broke."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engines.ablation.analysis import FEWEST_PAIRS, NOT_TESTABLE, Analysis, CellReport, mean_of
from engines.ablation.effects import Effect
from engines.ablation.plan import Plan
from engines.ablation.results import Result
from engines.ablation.statistics import ALPHA, CONFIDENCE, Difference, Spread

_FEWEST_DIGITS, _MOST_DIGITS = 4, 8
_UNITS = {"val_bpb": "validation bits per byte at the end", "tokens_to_target": "training tokens until the target"}


class Table(NamedTuple):
    head: list[str]
    rows: list[list[str]]


class Section(NamedTuple):
    """A titled table with a sentence before it, in words of Markdown; the HTML report shows the same ones."""

    title: str
    text: str
    table: Table


def markdown(name: str, plan: Plan, analysis: Analysis, config: Mapping[str, Any]) -> str:
    asked, judged = question(plan, analysis)
    lines = [
        f"# Ablation {name}",
        "",
        asked,
        "",
        judged,
        "",
        *_lines(cell_table(analysis)),
        "",
        reading(plan, analysis),
        "",
    ]
    for section in sections(plan, analysis):
        text = [section.text, ""] if section.text else []
        lines += [f"## {section.title}", "", *text, *_lines(section.table), ""]
    return "\n".join([*lines, *_how(config)]).rstrip() + "\n"


def sections(plan: Plan, analysis: Analysis) -> list[Section]:
    """What comes behind the table of cells; those without a row are left out."""
    found = [
        _effects("Effect of each axis", analysis.effects),
        _effects("Interactions", analysis.interactions),
        *_two_way(plan, analysis),
        _broken(analysis),
        _dropped(plan),
        _runs(analysis),
    ]
    return [section for section in found if section.table.rows]


def question(plan: Plan, analysis: Analysis) -> tuple[str, str]:
    """What was asked, and what decides."""
    axes = "; ".join(f"`{axis.name}` = {', '.join(map(shown, axis.values))}" for axis in plan.axes)
    base = ", ".join(f"{name} {shown(value)}" for name, value in plan.given.items()) or "all defaults"
    how = plan.options.pick + (f" with halving on {len(plan.rungs)} rungs" if plan.options.halving else "")
    return (
        f"Base: {base}. Axes: {axes}. Cells: {len(plan.cells)} ({how}), each with "
        f"{len(plan.seeds)} seed{'s' * (len(plan.seeds) > 1)} ({', '.join(map(str, plan.seeds))}). "
        f"Done: {analysis.done} of {analysis.total} runs.",
        f"Judged by {_UNITS[analysis.metric]}, less is better; compared with `{analysis.base}`, seed by seed.",
    )


def cell_table(analysis: Analysis) -> Table:
    percent = round(100 * CONFIDENCE)
    head = ["", "variant", "seeds", "val bpb", "best bpb", f"difference from base, {percent} % interval", "p (Holm)",
            "verdict", "tokens to target", "s to target", "tokens/s", "parameters"]  # fmt: skip
    rows = [
        [
            str(rank),
            f"`{cell.name}`",
            str(len(cell.results)),
            spread_text(cell.val_bpb),
            spread_text(cell.best_bpb),
            difference_text(cell.difference),
            "" if cell.p_corrected is None else f"{cell.p_corrected:.2g}",
            f"**{cell.verdict}**" if cell.verdict in ("better", "worse") else verdict_text(cell),
            _count(cell.tokens_to_target.mean if cell.tokens_to_target else None),
            f"{cell.seconds_to_target.mean:.3g}" if cell.seconds_to_target else "",
            _count(cell.mean("tokens_per_second")),
            _count(cell.mean("parameters")),
        ]
        for rank, cell in enumerate(analysis.cells, 1)
    ]
    return Table(head, rows)


def reading(plan: Plan, analysis: Analysis) -> str:
    """How the table is to be read."""
    number = analysis.comparisons
    target = "" if analysis.target_bpb is None else f" The target is {analysis.target_bpb:.4f} bits per byte."
    rungs = (
        " Halving selected the cells of the last rung with the same seeds: the correction counts every cell that "
        "entered it, but their differences are slightly optimistic."
        if len(plan.rungs) > 1
        else ""
    )
    return (
        f"Mean ± standard deviation over seeds. {number} comparison{'s' * (number != 1)} with the base, "
        f"at a family-wise error rate of {ALPHA:.2g}: p is that of Student's t-test on the paired differences of equal "
        f"seeds, corrected for {number} comparison{'s' * (number != 1)} (Holm). "
        f"The intervals are corrected too: an interval excludes zero exactly if the verdict is better or worse. "
        f'"No difference shown" means that the difference is within the noise between seeds, not that there is none; '
        f'"{NOT_TESTABLE}" means that every seed differs by the same amount, so there is no noise to compare with; '
        f"cells with fewer than {FEWEST_PAIRS} seeds get no verdict.{target}{rungs}"
    )


def _effects(title: str, effects: Sequence[Effect]) -> Section:
    rows = [
        [
            " × ".join(f"`{name}` {shown(value)}" for name, value in zip(effect.axes, effect.values, strict=True)),
            " × ".join(map(shown, effect.instead_of)),
            difference_text(effect.difference),
        ]
        for effect in effects
    ]
    explained = (
        "The effect of two axes together minus the sum of both; intervals are corrected for the number of rows."
        if effects and len(effects[0].axes) > 1
        else "The other axes are averaged over; intervals are corrected for the number of rows."
    )
    return Section(title, explained, Table(["value", "instead of", "difference"], rows))


def _two_way(plan: Plan, analysis: Analysis) -> Iterator[Section]:
    """For each two axes of a full grid, a mean for each value of one with each of the other."""
    for one, other in itertools.combinations(plan.axes, 2) if analysis.effects else ():
        rows = []
        for a in one.values:
            means = (mean_of(analysis, {one.name: a, other.name: b}) for b in other.values)
            rows.append([shown(a), *("" if mean is None else _score(analysis.metric, mean) for mean in means)])
        head = ["", *(f"`{other.name}` {shown(b)}" for b in other.values)]
        text = f"Means of {_UNITS[analysis.metric]}, over the seeds and all other axes; `{one.name}` down."
        yield Section(f"{one.name} × {other.name}", text, Table(head, rows))


def _score(metric: str, value: float) -> str:
    return f"{value:.{_FEWEST_DIGITS}f}" if metric == "val_bpb" else _count(value)


def _broken(analysis: Analysis) -> Section:
    rows = [
        [f"`{cell.name}`", str(result.job.seed), result.outcome, result.detail or "", result.run]
        for cell in analysis.cells
        for result in cell.results
        if not result.is_comparable
    ]
    head = ["variant", "seed", "outcome", "why", "run"]
    return Section("Runs without a result", "", Table(head, rows))


def _dropped(plan: Plan) -> Section:
    rows = [[f"`{one.name}`", one.reason] for one in plan.dropped]
    return Section("Combinations that were not trained", "", Table(["combination", "why"], rows))


def _runs(analysis: Analysis) -> Section:
    rows = [[f"`{cell.name}`", ", ".join(map(_run, cell.results))] for cell in analysis.cells if cell.results]
    return Section("Runs", "", Table(["variant", "runs"], rows))


def _run(result: Result) -> str:
    figure = "" if result.val_bpb is None else f" {result.val_bpb:.4f}"
    return f"{result.run or 'none'} (seed {result.job.seed}{figure})"


def _how(config: Mapping[str, Any]) -> list[str]:
    code = config.get("code", {})
    return [
        "## How it was made",
        "",
        f"nanochat-tui {code.get('nanochat_tui')}, commit {code.get('commit')}, Python {code.get('python')}. "
        "Again: `nanochat-tui --no-ui ablate --config plan.json`, with the plan.json of this study.",
    ]


def difference_text(found: Difference | None) -> str:
    if found is None:
        return ""
    return f"{found.spread.mean:+.{_digits(found)}f} {_interval(found, found.low, found.high)}".strip()


def _interval(found: Difference, low: float | None, high: float | None) -> str:
    digits = _digits(found)
    return "" if low is None or high is None else f"[{low:+.{digits}f}, {high:+.{digits}f}]"


def _digits(found: Difference) -> int:
    """Behind the point: enough to tell the ends of the interval from its middle."""
    width = (found.high or 0.0) - (found.low or 0.0)
    return min(_MOST_DIGITS, max(_FEWEST_DIGITS, 1 - math.floor(math.log10(width)))) if width > 0 else _FEWEST_DIGITS


def spread_text(found: Spread | None) -> str:
    if found is None:
        return ""
    return f"{found.mean:.4f}" + ("" if found.sd is None else f" ± {found.sd:.4f}")


def shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def verdict_text(cell: CellReport) -> str:
    """With how many of its seeds, where not all ended like that."""
    number = cell.outcomes.get(cell.verdict, len(cell.results))
    return cell.verdict + (f" ({number} of {len(cell.results)})" if number < len(cell.results) else "")


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _lines(table: Table) -> list[str]:
    rule = ["---"] * len(table.head)
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (table.head, rule, *table.rows)]
