"""Tables of a study: one row per run as CSV and JSON lines, the analysis as JSON, a report in Markdown."""

import contextlib
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from engines import events
from engines.ablation.analysis import Analysis, CellReport, analyse
from engines.ablation.formatting import format_value
from engines.ablation.markdown import render_markdown
from engines.ablation.plan import Job, Plan
from engines.ablation.results import RunResult
from engines.ablation.schedule import all_jobs
from engines.ablation.statistics import Spread
from engines.ablation.study import Study
from engines.errors import UserError
from engines.files import write_file
from engines.output.csv_text import write_csv
from engines.output.json_text import to_json
from engines.output.terminal_text import visible
from engines.runs.portable import FACT_OF, PortablePaths, find_corpora, is_path
from engines.settings.fields import fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

_DIGITS = 6  # decimals of losses and rates, as in the Rust program's files
_DIFFERENCE_COLUMNS = ("low", "high", "p", "p_corrected")


def write_all_tables(study: Study, plan: Plan, results: Mapping[Job, RunResult]) -> list[str]:
    """Write the tables of `write_study_tables` and copies of them, named as the Rust program named them, into the
    results directory. Return the paths of the copies."""
    tables = write_study_tables(study, plan, results)
    base = resolve(plan.given)
    stamp = round(study.created_at * 1e9)
    stem = f"ablate_style-{base.style}_seed-{base.seed}_steps-{base.steps}_{stamp}"
    paths = [study.results / f"{stem}{suffix}" for suffix in (".csv", ".jsonl", ".md")]
    for path in paths:
        write_file(path, tables[path.suffix], "table")
    return [str(path) for path in paths]


def write_study_tables(study: Study, plan: Plan, results: Mapping[Job, RunResult]) -> dict[str, str]:
    """Write the tables of the results so far into the study's directory, and return their texts by suffix."""
    others = portable_paths(study, plan)
    rows = [others.inside(build_run_row(plan, results[job])) for job in sorted(results)]
    analysis = analyse(plan, results)
    texts = {
        ".csv": render_csv(rows),
        ".jsonl": "".join(events.encode(row).decode() for row in rows),
        ".json": to_json(others.inside(analysis_to_json(plan, analysis)), indent=1) + "\n",
        ".md": visible(render_markdown(study.id, others.inside(plan), others.inside(analysis), study.config)),
    }
    for suffix, text in texts.items():
        write_file(study.path / f"table{suffix}", text, "table")
    return texts


def portable_paths(study: Study, plan: Plan) -> PortablePaths:
    """Return the replacement of this machine's paths in reports of a study. Its runs have recorded the sha256 of the
    files that the plan names."""
    settings = [*plan.given.items(), *((axis.name, value) for axis in plan.axes for value in axis.values)]
    paths = {value: FACT_OF[name] for name, value in settings if name in FACT_OF and is_path(value)}
    corpora: dict[str, str | None] = dict.fromkeys(paths)
    for job in all_jobs(plan):
        if all(corpora[path] or not fact for path, fact in paths.items()):
            break
        run = study.find_run(job)
        with contextlib.suppress(UserError):
            found = find_corpora(run.config if run else {})
            corpora |= {path: found[path] for path in corpora.keys() & found.keys() if found[path]}
    return PortablePaths(study.results, corpora)


def build_run_row(plan: Plan, result: RunResult) -> dict[str, Any]:
    """Build the row of one run: the Rust program's columns in their order, then new ones."""
    cell = plan.cells[result.job.cell]
    settings = resolve(plan.run_settings(cell, result.job.seed))
    row = {
        "variant": cell.name,
        "tie_lm_head": settings.tie_lm_head,
        "input_rmsnorm": settings.input_rmsnorm,
        "style": settings.style,
        "parameter_count": result.parameters,
        "steps": result.steps,
        "seed": result.job.seed,
        "final_loss": _round(result.final_loss),
        "mean_loss_last_n": _round(result.mean_loss_last_n),
        "last_n": result.last_n,
        "steps_per_sec": _round(result.steps_per_second),
        "tokens_per_sec": _round(result.tokens_per_second),
        "vocab_size": result.vocab_size,
        "train_tokens": result.train_tokens,
        "val_loss": _round(result.val_loss),
        "val_bpb": _round(result.val_bpb),
        "best_bpb": _round(result.best_bpb),
        "best_step": result.best_step,
        "val_bytes": result.val_bytes,
        "tokens": result.tokens,
        "train_seconds": _round(result.train_seconds),
        "outcome": result.outcome,
        "detail": result.detail,
        "base": cell.name == plan.base,
        "rung": result.job.rung,
        "run": result.run,
    }
    return _add_axis_columns(row, plan, settings)


def _add_axis_columns(row: dict[str, Any], plan: Plan, settings: TrainSettings) -> dict[str, Any]:
    """Add a column for each axis that has none yet."""
    return row | {axis.name: getattr(settings, axis.name) for axis in plan.axes if axis.name not in row}


def build_summary_rows(plan: Plan, analysis: Analysis) -> list[dict[str, Any]]:
    """Build one row per cell in the plan's order: the columns that the Rust program printed, then new ones."""
    ranks = {cell.cell: rank for rank, cell in enumerate(analysis.cells, 1)}
    return [
        _build_summary_row(plan, cell, ranks[cell.cell]) for cell in sorted(analysis.cells, key=lambda cell: cell.cell)
    ]


def _build_summary_row(plan: Plan, cell: CellReport, rank: int) -> dict[str, Any]:
    settings = resolve(plan.given | cell.changes)
    difference = cell.difference
    row = {
        "variant": cell.name,
        "tie_lm_head": settings.tie_lm_head,
        "input_rmsnorm": settings.input_rmsnorm,
        "style": settings.style,
        "params": cell.results[0].parameters if cell.results else None,
        "final_loss": _round(cell.mean("final_loss")),
        "mean_loss_last_n": _round(cell.mean("mean_loss_last_n")),
        "steps_per_sec": _round(cell.mean("steps_per_second")),
        "tokens_per_sec": _round(cell.mean("tokens_per_second")),
        "seeds": len(cell.results),
        "val_bpb": _mean(cell.val_bpb),
        "val_bpb_sd": _round(cell.val_bpb.sd if cell.val_bpb else None),
        "best_bpb": _mean(cell.best_bpb),
        "best_bpb_sd": _round(cell.best_bpb.sd if cell.best_bpb else None),
        "difference": _mean(difference.spread if difference else None),
        **{name: _round(getattr(difference, name, None)) for name in _DIFFERENCE_COLUMNS},
        "verdict": cell.verdict,
        "rank": rank,
        "tokens_to_target": _mean(cell.tokens_to_target),
        "seconds_to_target": _mean(cell.seconds_to_target),
    }
    return _add_axis_columns(row, plan, settings)


def _mean(spread: Spread | None) -> float | None:
    return _round(spread.mean if spread else None)


def render_csv(rows: list[dict[str, Any]]) -> str:
    """Render rows with the same columns as CSV, with a header; empty if there are no rows."""
    if not rows:
        return ""
    text = io.StringIO()
    write_csv(text, list(rows[0]), ([_format_csv_value(name, value) for name, value in row.items()] for row in rows))
    return text.getvalue()


def _format_csv_value(name: str, value: Any) -> str:
    """Format a value as the Rust program did: booleans in lower case, six decimals except for settings, None empty."""
    if value is None:
        return ""
    if isinstance(value, float) and name not in fields(TrainSettings):
        return f"{value:.{_DIGITS}f}"
    return format_value(value)


def _round(value: float | None) -> float | None:
    return value if value is None or not math.isfinite(value) else round(value, _DIGITS)


def analysis_to_json(plan: Plan, analysis: Analysis) -> dict[str, Any]:
    """Return the whole analysis for table.json. Runs are only named: table.jsonl has their values."""
    in_order = sorted(analysis.cells, key=lambda cell: cell.cell)
    cells = [
        {
            **row,
            "changes": cell.changes,
            "outcomes": cell.outcomes,
            "runs": {str(result.job.seed): result.run for result in cell.results},
        }
        for row, cell in zip(build_summary_rows(plan, analysis), in_order, strict=True)
    ]
    rest = {name: value for name, value in dataclasses.asdict(analysis).items() if name != "cells"}
    return rest | {"cells": [json.loads(events.encode(cell)) for cell in cells]}
