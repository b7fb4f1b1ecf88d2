"""Columns and rows of the two tables: the list of studies, and the cells of the study that is open."""

import math

from engines.ablation.analysis import MIN_PAIRS, NO_BASE_RESULT, NOT_DONE, NOT_TESTABLE, TOO_FEW_SEEDS, CellReport
from engines.ablation.formatting import format_difference, format_p, format_spread, format_value, format_verdict
from engines.ablation.plan import Job, Plan
from engines.ablation.results import RunResult
from engines.output.units import format_age, format_duration
from screens.ablate.reader import RESUMABLE, StudyRow, StudySnapshot
from screens.shared.formatting import format_count, format_state_glyph, format_text
from screens.shared.table import TableCell, TableColumn, TableRows

STUDY_COLUMNS = (
    TableColumn("state", "state", 1),
    TableColumn("study", "study", 0),
    TableColumn("done", "runs", 2, align_right=True),
    TableColumn("eta", "ETA", 3, align_right=True),
    TableColumn("age", "age", 5, align_right=True),
    TableColumn("design", "design", 6),
    TableColumn("axes", "axes", 4, max_width=60, shrinks_to=12),
    TableColumn("base", "base", 7, max_width=60, shrinks_to=12),
)
CELL_COLUMNS = (
    TableColumn("cell", "cell", 0, max_width=40),
    TableColumn("bpb", "val bpb", 2, align_right=True, max_width=19),
    TableColumn("difference", "difference", 4, align_right=True),
    TableColumn("interval", "95 % CI", 5, align_right=True),
    TableColumn("verdict", "verdict", 3, max_width=26, shrinks_to=9),
    TableColumn("seeds", "seeds", 6, align_right=True),
    TableColumn("speed", "tok/s", 7, align_right=True),
    TableColumn("best", "best bpb", 8, align_right=True),
    TableColumn("p", "p (Holm)", 9, align_right=True),
)
_FAILED = ("crashed", "killed", "halted", "stuck", "diverged", "unreadable")
_VERDICT_STYLES = {"better": "good", "worse": "bad", "base": "base"} | dict.fromkeys(_FAILED, "failed")
_ACTIVE = ("running", "paused", "starting")


# --- studies ----------------------------------------------------------------------------------------


def build_study_rows(studies: list[StudyRow], ascii: bool) -> TableRows:
    """Build the rows of the list of studies."""
    return {row.key: _build_study_row(row, ascii) for row in studies}


def _build_study_row(row: StudyRow, ascii: bool) -> dict[str, TableCell]:
    style = "failed" if row.problem or row.state in _FAILED else "active" if row.state in _ACTIVE else ""
    texts = {
        "state": f"{format_state_glyph(row.watch, ascii)} {row.state}{' !' if row.problem else ''}",
        "study": row.study.id,
        "done": f"{row.done}/{row.total}",
        "eta": "" if row.seconds_left is None else format_duration(row.seconds_left),
        "axes": format_axes_line(row.plan) if row.plan else row.problem,
        "design": format_design(row.plan) if row.plan else "",
        "base": format_base(row.plan) if row.plan else "",
        "age": format_age(row.created_at),
    }
    return {name: TableCell(format_text(text, ascii), style if name == "state" else "") for name, text in texts.items()}


def format_axes_line(plan: Plan) -> str:
    """Format the axes on one line: `lr=0.01,0.1 × depth=2,4`."""
    return " × ".join(f"{axis.name}={','.join(map(format_value, axis.values))}" for axis in plan.axes)


def format_design(plan: Plan) -> str:
    """Format the design: `grid`, `random + halving`."""
    return plan.options.pick + (" + halving" if plan.options.halving else "")


def format_base(plan: Plan) -> str:
    """Format the settings that the base changes."""
    return " ".join(f"{name}={format_value(value)}" for name, value in plan.given.items()) or "default settings"


# --- cells ------------------------------------------------------------------------------------------


def build_cell_rows(snapshot: StudySnapshot, ascii: bool) -> TableRows:
    """Build the rows of the cells, the best first."""
    return {str(cell.cell): _build_cell_row(cell, snapshot, ascii) for cell in snapshot.analysis.cells}


def _build_cell_row(cell: CellReport, snapshot: StudySnapshot, ascii: bool) -> dict[str, TableCell]:
    difference, _, interval = format_difference(cell.difference).partition(" ")
    verdict_style = "active" if _is_training(cell, snapshot) else _VERDICT_STYLES.get(cell.verdict, "faint")
    p = cell.p_corrected
    row = {
        "cell": TableCell(cell.name, "base" if cell.verdict == "base" else ""),
        "bpb": TableCell(format_spread(cell.val_bpb)),
        "difference": TableCell(difference),
        "interval": TableCell(interval),
        "verdict": TableCell(describe_verdict(cell, snapshot), verdict_style),
        "seeds": TableCell(format_seeds(cell, snapshot)),
        "speed": TableCell(format_count(cell.mean("tokens_per_second")), "faint"),
        "best": TableCell(format_spread(cell.best_bpb), "faint"),
        "p": TableCell(format_p(p) if p is not None and math.isfinite(p) else "", "faint"),
    }
    return {name: TableCell(format_text(found.text, ascii), found.style) for name, found in row.items()}


def _is_training(cell: CellReport, snapshot: StudySnapshot) -> bool:
    return any(job.cell == cell.cell for job in snapshot.training)


def describe_verdict(cell: CellReport, snapshot: StudySnapshot) -> str:
    """Return the verdict, or why the cell has none yet."""
    if cell.verdict == NOT_DONE and _is_training(cell, snapshot):
        return "training"
    if cell.verdict == NO_BASE_RESULT:
        base = next(other for other in snapshot.analysis.cells if other.name == snapshot.analysis.base)
        if len(_final_results(base)) < len(snapshot.plan.seeds):
            return "waiting for the base"
    return format_verdict(cell)


def _final_results(cell: CellReport) -> list[RunResult]:
    """Return the results without runs that were stopped or killed: the queue resumes them."""
    return [result for result in cell.results if result.outcome not in RESUMABLE]


def format_seeds(cell: CellReport, snapshot: StudySnapshot) -> str:
    """Format the number of seeds that are done, and of all."""
    return f"{len(_final_results(cell))}/{len(snapshot.plan.seeds)}"


def describe_cell(cell: CellReport, snapshot: StudySnapshot) -> str:
    """Describe one cell on one line: verdict, difference, seeds, speed, and the reasons of failed runs."""
    verdict = describe_verdict(cell, snapshot)
    if verdict == TOO_FEW_SEEDS:
        verdict += f" (at least {MIN_PAIRS} are needed)"
    if verdict == NOT_TESTABLE:
        verdict += " (every seed differs by the same amount)"
    parts = [f"{cell.name}: {verdict}"]
    if cell.difference:
        parts.append(f"difference {format_difference(cell.difference)}")
    if cell.p_corrected is not None:
        parts.append(f"p {format_p(cell.p_corrected)}")
    parts.append(f"seeds {format_seeds(cell, snapshot)}")
    if speed := cell.mean("tokens_per_second"):
        parts.append(f"{format_count(speed)} tok/s")
    if cell.rung:
        parts.append(f"rung {cell.rung + 1} of {len(snapshot.plan.rungs)}")
    details = {result.detail for result in cell.results if result.detail and not result.is_comparable}
    return " · ".join([*parts, *sorted(details)])


def find_first_job(snapshot: StudySnapshot, cell: int) -> Job | None:
    """Return the cell's job with the first seed that has a run, on its last rung; None if no run has begun."""
    plan = snapshot.plan
    jobs = [Job(cell, seed, rung) for seed in plan.seeds for rung in reversed(range(len(plan.rungs)))]
    return next((job for job in jobs if job in snapshot.runs), None)
