"""What a study leaves behind: a row for each run as CSV and JSON lines, all figures as JSON, a report in Markdown."""

import contextlib
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from engines import events
from engines.ablation.analysis import Analysis, CellReport, analyse
from engines.ablation.markdown import markdown, shown
from engines.ablation.plan import Job, Plan
from engines.ablation.results import Result
from engines.ablation.schedule import every_job
from engines.ablation.statistics import Spread
from engines.ablation.study import Study
from engines.errors import UserError
from engines.files import write_file
from engines.output.csv_text import write_csv
from engines.output.json_text import to_json
from engines.output.terminal_text import visible
from engines.runs.portable import FACT_OF, Portable, corpora_of, is_path
from engines.settings.fields import fields
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

_DIGITS = 6  # of losses and rates, as in the ancestor's files
_OF_A_DIFFERENCE = ("low", "high", "p", "p_corrected")


def write(study: Study, plan: Plan, results: Mapping[Job, Result]) -> list[str]:
    """All tables in the study's directory, and beside the runs under the ancestor's names; returns the latter."""
    tables = write_tables(study, plan, results)
    base = resolve(plan.given)
    stamp = round(study.created_at * 1e9)
    stem = f"ablate_style-{base.style}_seed-{base.seed}_steps-{base.steps}_{stamp}"
    paths = [study.results / f"{stem}{suffix}" for suffix in (".csv", ".jsonl", ".md")]
    for path in paths:
        write_file(path, tables[path.suffix], "table")
    return [str(path) for path in paths]


def write_tables(study: Study, plan: Plan, results: Mapping[Job, Result]) -> dict[str, str]:
    """Into the study's directory, of what is known so far; returns each text by its suffix."""
    others = portable(study, plan)
    rows = [others.inside(row_of(plan, results[job])) for job in sorted(results)]
    analysis = analyse(plan, results)
    texts = {
        ".csv": csv_text(rows),
        ".jsonl": "".join(events.encode(row).decode() for row in rows),
        ".json": to_json(others.inside(as_json(plan, analysis)), indent=1) + "\n",
        ".md": visible(markdown(study.id, others.inside(plan), others.inside(analysis), study.config)),
    }
    for suffix, text in texts.items():
        write_file(study.path / f"table{suffix}", text, "table")
    return texts


def portable(study: Study, plan: Plan) -> Portable:
    """For what is told of a study. Its runs know the sha256 of the files that the plan names."""
    asked = [*plan.given.items(), *((axis.name, value) for axis in plan.axes for value in axis.values)]
    paths = {value: FACT_OF[name] for name, value in asked if name in FACT_OF and is_path(value)}
    corpora: dict[str, str | None] = dict.fromkeys(paths)
    for job in every_job(plan):
        if all(corpora[path] or not fact for path, fact in paths.items()):
            break
        run = study.run_of(job)
        with contextlib.suppress(UserError):
            found = corpora_of(run.config if run else {})
            corpora |= {path: found[path] for path in corpora.keys() & found.keys() if found[path]}
    return Portable(study.results, corpora)


def row_of(plan: Plan, result: Result) -> dict[str, Any]:
    """A run in a line: the ancestor's columns, in its order, then ours."""
    cell = plan.cells[result.job.cell]
    settings = resolve(plan.given_of(cell, result.job.seed))
    row = {
        "variant": cell.name,
        "tie_lm_head": settings.tie_lm_head,
        "input_rmsnorm": settings.input_rmsnorm,
        "style": settings.style,
        "parameter_count": result.parameters,
        "steps": result.steps,
        "seed": result.job.seed,
        "final_loss": _rounded(result.final_loss),
        "mean_loss_last_n": _rounded(result.mean_loss_last_n),
        "last_n": result.last_n,
        "steps_per_sec": _rounded(result.steps_per_second),
        "tokens_per_sec": _rounded(result.tokens_per_second),
        "vocab_size": result.vocab_size,
        "train_tokens": result.train_tokens,
        "val_loss": _rounded(result.val_loss),
        "val_bpb": _rounded(result.val_bpb),
        "best_bpb": _rounded(result.best_bpb),
        "best_step": result.best_step,
        "val_bytes": result.val_bytes,
        "tokens": result.tokens,
        "train_seconds": _rounded(result.train_seconds),
        "outcome": result.outcome,
        "detail": result.detail,
        "base": cell.name == plan.base,
        "rung": result.job.rung,
        "run": result.run,
    }
    return _with_axes(row, plan, settings)


def _with_axes(row: dict[str, Any], plan: Plan, settings: TrainSettings) -> dict[str, Any]:
    """And a column for each axis that has none yet."""
    return row | {axis.name: getattr(settings, axis.name) for axis in plan.axes if axis.name not in row}


def summary_rows(plan: Plan, analysis: Analysis) -> list[dict[str, Any]]:
    """A cell in a line, in the plan's order: the columns that the ancestor prints, in its order, then ours."""
    ranks = {cell.cell: rank for rank, cell in enumerate(analysis.cells, 1)}
    return [_summary(plan, cell, ranks[cell.cell]) for cell in sorted(analysis.cells, key=lambda cell: cell.cell)]


def _summary(plan: Plan, cell: CellReport, rank: int) -> dict[str, Any]:
    settings = resolve(plan.given | cell.changes)
    found = cell.difference
    row = {
        "variant": cell.name,
        "tie_lm_head": settings.tie_lm_head,
        "input_rmsnorm": settings.input_rmsnorm,
        "style": settings.style,
        "params": cell.results[0].parameters if cell.results else None,
        "final_loss": _rounded(cell.mean("final_loss")),
        "mean_loss_last_n": _rounded(cell.mean("mean_loss_last_n")),
        "steps_per_sec": _rounded(cell.mean("steps_per_second")),
        "tokens_per_sec": _rounded(cell.mean("tokens_per_second")),
        "seeds": len(cell.results),
        "val_bpb": _mean(cell.val_bpb),
        "val_bpb_sd": _rounded(cell.val_bpb.sd if cell.val_bpb else None),
        "best_bpb": _mean(cell.best_bpb),
        "best_bpb_sd": _rounded(cell.best_bpb.sd if cell.best_bpb else None),
        "difference": _mean(found.spread if found else None),
        **{name: _rounded(getattr(found, name, None)) for name in _OF_A_DIFFERENCE},
        "verdict": cell.verdict,
        "rank": rank,
        "tokens_to_target": _mean(cell.tokens_to_target),
        "seconds_to_target": _mean(cell.seconds_to_target),
    }
    return _with_axes(row, plan, settings)


def _mean(found: Spread | None) -> float | None:
    return _rounded(found.mean if found else None)


def csv_text(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    write_csv(text, list(rows[0]), ([_csv_cell(name, value) for name, value in row.items()] for row in rows))
    return text.getvalue()


def _csv_cell(name: str, value: Any) -> str:
    """As the ancestor writes it: lower-case words, six digits, but for settings; nothing for what there is not."""
    if value is None:
        return ""
    if isinstance(value, float) and name not in fields(TrainSettings):
        return f"{value:.{_DIGITS}f}"
    return shown(value)


def _rounded(value: float | None) -> float | None:
    return value if value is None or not math.isfinite(value) else round(value, _DIGITS)


def as_json(plan: Plan, analysis: Analysis) -> dict[str, Any]:
    """The whole analysis; of the runs only which they are, as the rows of runs have the rest."""
    in_order = sorted(analysis.cells, key=lambda cell: cell.cell)
    cells = [
        {
            **row,
            "changes": cell.changes,
            "outcomes": cell.outcomes,
            "runs": {str(result.job.seed): result.run for result in cell.results},
        }
        for row, cell in zip(summary_rows(plan, analysis), in_order, strict=True)
    ]
    told = {name: value for name, value in dataclasses.asdict(analysis).items() if name != "cells"}
    return told | {"cells": [json.loads(events.encode(cell)) for cell in cells]}
