"""The columns of both tables, and what stands in them: studies in the list, cells of the study that is open."""

import math
from collections.abc import Mapping

from engines.ablation.analysis import MIN_PAIRS, NOT_TESTABLE, CellReport
from engines.ablation.formatting import format_difference, format_spread, format_value, format_verdict
from engines.ablation.plan import Job, Plan
from engines.ablation.results import RunResult
from engines.output.units import format_age, format_duration
from screens.ablate.figure_table import Cell, Column, Rows
from screens.ablate.studies import GOES_ON, Reading, StudyRow
from screens.ablate.words import plain
from screens.shared.formatting import format_count, format_state

STUDY_COLUMNS = (
    Column("state", "state", 1),
    Column("study", "study", 0),
    Column("done", "runs", 2, right=True),
    Column("eta", "left", 3, right=True),
    Column("age", "age", 5, right=True),
    Column("pick", "pick", 6),
    Column("axes", "axes", 4, most=60, least=12),
    Column("base", "base", 7, most=60, least=12),
)
CELL_COLUMNS = (
    Column("series", " ", 1, most=1),
    Column("cell", "variant", 0, most=40),
    Column("bpb", "val bpb", 2, right=True, most=19),
    Column("difference", "against base", 4, right=True),
    Column("interval", "95 %", 5, right=True),
    Column("verdict", "verdict", 3, most=26, least=9),
    Column("seeds", "seeds", 6, right=True),
    Column("speed", "tok/s", 7, right=True),
    Column("best", "best bpb", 8, right=True),
    Column("p", "p (Holm)", 9, right=True),
)
_FAILED = ("crashed", "killed", "halted", "stuck", "diverged", "unreadable")
_STYLES = {"better": "good", "worse": "bad", "base": "base"} | dict.fromkeys(_FAILED, "failed")
_LIVE = ("running", "paused", "starting")


def study_rows(studies: list[StudyRow], ascii: bool) -> Rows:
    return {row.key: _study(row, ascii) for row in studies}


def _study(row: StudyRow, ascii: bool) -> dict[str, Cell]:
    style = "failed" if row.problem or row.state in _FAILED else "live" if row.state in _LIVE else ""
    texts = {
        "state": f"{format_state(row.watch, ascii).split()[0]} {row.state}{' !' if row.problem else ''}",
        "study": row.study.id,
        "done": f"{row.done}/{row.total}",
        "eta": "" if row.seconds_left is None else format_duration(row.seconds_left),
        "axes": axes_words(row.plan) if row.plan else row.problem,
        "pick": pick_words(row.plan) if row.plan else "",
        "base": base_words(row.plan) if row.plan else "",
        "age": format_age(row.created_at),
    }
    return {name: Cell(plain(text, ascii), style if name == "state" else "") for name, text in texts.items()}


def axes_words(plan: Plan) -> str:
    return " × ".join(f"{axis.name}={','.join(map(format_value, axis.values))}" for axis in plan.axes)


def pick_words(plan: Plan) -> str:
    return plan.options.pick + (" halving" if plan.options.halving else "")


def base_words(plan: Plan) -> str:
    return " ".join(f"{name}={format_value(value)}" for name, value in plan.given.items()) or "all defaults"


def cell_rows(reading: Reading, series: Mapping[int, int], ascii: bool) -> Rows:
    """By the cell's place in the plan, the best first. `series`: the number of the curve of each cell that has one."""
    return {str(cell.cell): _cell(cell, reading, series.get(cell.cell), ascii) for cell in reading.analysis.cells}


def _cell(cell: CellReport, reading: Reading, number: int | None, ascii: bool) -> dict[str, Cell]:
    difference, _, interval = format_difference(cell.difference).partition(" ")
    style = "live" if _trains(cell, reading) else _STYLES.get(cell.verdict, "faint")
    p = cell.p_corrected
    cells = {
        "series": Cell(str(number) if number else "", f"series-{number}" if number else ""),
        "cell": Cell(cell.name, "base" if cell.verdict == "base" else ""),
        "bpb": Cell(format_spread(cell.val_bpb)),
        "difference": Cell(difference),
        "interval": Cell(interval),
        "verdict": Cell(verdict_words(cell, reading), style),
        "seeds": Cell(seeds_words(cell, reading)),
        "speed": Cell(format_count(cell.mean("tokens_per_second")), "faint"),
        "best": Cell(format_spread(cell.best_bpb), "faint"),
        "p": Cell("" if p is None or not math.isfinite(p) else f"{p:.2g}", "faint"),
    }
    return {name: Cell(plain(told.text, ascii), told.style) for name, told in cells.items()}


def _trains(cell: CellReport, reading: Reading) -> bool:
    return any(job.cell == cell.cell for job in reading.training)


def verdict_words(cell: CellReport, reading: Reading) -> str:
    """The verdict; of a cell that has none yet, what it waits for."""
    if cell.verdict == "not done yet" and _trains(cell, reading):
        return "training"
    if cell.verdict == "the base has no result":
        base = next(other for other in reading.analysis.cells if other.name == reading.analysis.base)
        if len(_done(base)) < len(reading.plan.seeds):
            return "waits for the base"
    return format_verdict(cell)


def _done(cell: CellReport) -> list[RunResult]:
    """Without runs that were stopped or killed: the queue goes on with them."""
    return [result for result in cell.results if result.outcome not in GOES_ON]


def seeds_words(cell: CellReport, reading: Reading) -> str:
    return f"{len(_done(cell))}/{len(reading.plan.seeds)}"


def cell_line(cell: CellReport, reading: Reading) -> str:
    """All about one cell, in a line."""
    verdict = verdict_words(cell, reading)
    if verdict == "too few seeds":
        verdict += f", at least {MIN_PAIRS} are needed"
    if verdict == NOT_TESTABLE:
        verdict += ", every seed differs by the same amount"
    parts = [f"{cell.name}: {verdict}"]
    if cell.difference:
        parts.append(format_difference(cell.difference))
    if cell.p_corrected is not None:
        parts.append(f"p {cell.p_corrected:.2g}")
    parts.append(f"seeds {seeds_words(cell, reading)}")
    if speed := cell.mean("tokens_per_second"):
        parts.append(f"{format_count(speed)} tok/s")
    if cell.rung:
        parts.append(f"rung {cell.rung + 1} of {len(reading.plan.rungs)}")
    details = {result.detail for result in cell.results if result.detail and not result.is_comparable}
    return " · ".join([*parts, *sorted(details)])


def first_job(reading: Reading, cell: int) -> Job | None:
    """Of a cell's runs that with the first seed, as far as it has been trained."""
    plan = reading.plan
    jobs = [Job(cell, seed, rung) for seed in plan.seeds for rung in reversed(range(len(plan.rungs)))]
    return next((job for job in jobs if job in reading.runs), None)
