"""The columns of both tables, and what stands in them: studies in the list, cells of the study that is open."""

import math
from collections.abc import Mapping

from engines.ablation.analysis import CellReport
from engines.ablation.markdown import difference_text, shown, spread_text, verdict_text
from engines.ablation.plan import Plan
from engines.ablation.schedule import Job
from screens.ablate.figure_table import Cell, Column, Rows
from screens.ablate.studies import Reading, StudyRow
from screens.ablate.words import age, duration, plain
from screens.runs.columns import short_number
from screens.train.panel import state_words

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
    Column("difference", "against the base, 95 %", 4, right=True, least=8),
    Column("verdict", "verdict", 3, most=26, least=9),
    Column("seeds", "seeds", 5, right=True),
    Column("speed", "tok/s", 6, right=True),
    Column("best", "best bpb", 7, right=True),
    Column("p", "p (Holm)", 8, right=True),
)
_FAILED = ("crashed", "killed", "halted", "stuck", "diverged")
_STYLES = {"better": "good", "worse": "bad", "base": "base"} | dict.fromkeys(_FAILED, "failed")
_LIVE = ("running", "paused", "starting")


def study_rows(studies: list[StudyRow], ascii: bool) -> Rows:
    return {row.key: _study(row, ascii) for row in studies}


def _study(row: StudyRow, ascii: bool) -> dict[str, Cell]:
    style = "failed" if row.problem or row.state in _FAILED else "live" if row.state in _LIVE else ""
    texts = {
        "state": f"{state_words(row.watch, ascii).split()[0]} {row.state}{' !' if row.problem else ''}",
        "study": row.study.id,
        "done": f"{row.done}/{row.total}",
        "eta": duration(row.seconds_left) if row.seconds_left is not None else "",
        "axes": axes_words(row.plan) if row.plan else row.problem,
        "pick": pick_words(row.plan) if row.plan else "",
        "base": base_words(row.plan) if row.plan else "",
        "age": age(row.created_at),
    }
    return {name: Cell(plain(text, ascii), style if name == "state" else "") for name, text in texts.items()}


def axes_words(plan: Plan) -> str:
    return " × ".join(f"{axis.name}={','.join(map(shown, axis.values))}" for axis in plan.axes)


def pick_words(plan: Plan) -> str:
    return plan.options.pick + (" halving" if plan.options.halving else "")


def base_words(plan: Plan) -> str:
    return " ".join(f"{name}={shown(value)}" for name, value in plan.given.items()) or "all defaults"


def cell_rows(reading: Reading, series: Mapping[int, int], ascii: bool) -> Rows:
    """By the cell's place in the plan, the best first. `series`: the number of the curve of each cell that has one."""
    return {str(cell.cell): _cell(cell, reading, series.get(cell.cell), ascii) for cell in reading.analysis.cells}


def _cell(cell: CellReport, reading: Reading, number: int | None, ascii: bool) -> dict[str, Cell]:
    is_base = cell.verdict == "base"
    trains = any(job.cell == cell.cell for job in reading.training)
    verdict = "training" if trains and cell.verdict == "not done yet" else verdict_text(cell)
    p = cell.p_corrected
    cells = {
        "series": Cell(str(number) if number else "", f"series-{number}" if number else ""),
        "cell": Cell(cell.name, "base" if is_base else ""),
        "bpb": Cell(spread_text(cell.val_bpb)),
        "difference": Cell(difference_text(cell.difference)),
        "verdict": Cell(verdict, "live" if trains else _STYLES.get(cell.verdict, "faint")),
        "seeds": Cell(seeds_words(cell, reading)),
        "speed": Cell(short_number(cell.mean("tokens_per_second")), "faint"),
        "best": Cell(spread_text(cell.best_bpb), "faint"),
        "p": Cell("" if p is None or not math.isfinite(p) else f"{p:.2g}", "faint"),
    }
    return {name: Cell(plain(told.text, ascii), told.style) for name, told in cells.items()}


def seeds_words(cell: CellReport, reading: Reading) -> str:
    return f"{len(cell.results)}/{len(reading.plan.seeds)}"


def cell_line(cell: CellReport, reading: Reading) -> str:
    """All about one cell, in a line."""
    parts = [f"{cell.name}: {verdict_text(cell)}"]
    if cell.difference:
        parts.append(difference_text(cell.difference))
    if cell.p_corrected is not None:
        parts.append(f"p {cell.p_corrected:.2g}")
    parts.append(f"seeds {seeds_words(cell, reading)}")
    if speed := cell.mean("tokens_per_second"):
        parts.append(f"{short_number(speed)} tok/s")
    if cell.rung:
        parts.append(f"rung {cell.rung + 1} of {len(reading.plan.rungs)}")
    details = {result.detail for result in cell.results if result.detail and not result.is_comparable}
    return " · ".join([*parts, *sorted(details)])


def first_job(reading: Reading, cell: int) -> Job | None:
    """Of a cell's runs that with the first seed, as far as it has been trained."""
    plan = reading.plan
    jobs = [Job(cell, seed, rung) for seed in plan.seeds for rung in reversed(range(len(plan.rungs)))]
    return next((job for job in jobs if job in reading.runs), None)
