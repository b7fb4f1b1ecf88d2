"""The order of a study's runs: a function of the plan and of the results so far, so any queue can continue it."""

import math
from collections.abc import Mapping
from typing import Any

from engines.ablation.plan import Job, Plan
from engines.ablation.results import RunResult
from engines.settings.train import TrainSettings


def pending_jobs(plan: Plan, results: Mapping[Job, RunResult]) -> list[Job]:
    """Return the jobs to run before the next decision, in order; empty when the study is finished.

    The first seed of every cell comes first, so that a complete table appears early.
    """
    for rung in range(len(plan.rungs)):
        jobs = [Job(cell, seed, rung) for seed in plan.seeds for cell in select_cells(plan, results, rung)]
        pending = [job for job in jobs if job not in results and _can_start(job, results)]
        if pending:
            return pending
    return []


def all_jobs(plan: Plan) -> list[Job]:
    """Return every job that could become pending."""
    rungs, cells = range(len(plan.rungs)), range(len(plan.cells))
    return [Job(cell, seed, rung) for rung in rungs for seed in plan.seeds for cell in cells]


def select_cells(plan: Plan, results: Mapping[Job, RunResult], rung: int) -> list[int]:
    """Return the cells that a rung trains: all on the first, then the base and the best of the others so far."""
    cells = list(range(len(plan.cells)))
    for passed in range(rung):
        others = [cell for cell in cells if cell != plan.base_index]
        others.sort(key=lambda cell: (_mean_bpb(plan, results, cell, passed), cell))
        cells = sorted([plan.base_index, *others[: plan.rungs[passed + 1] - 1]])
    return cells


def rung_settings(plan: Plan, settings: TrainSettings, rung: int) -> dict[str, Any]:
    """Return the settings of a later rung that replace the cell's own: a study of an earlier version may have ended
    the previous rung by a token budget."""
    return {"steps": settings.steps, "tokens": settings.tokens} if rung else {}


def rung_stop_step(plan: Plan, settings: TrainSettings, rung: int) -> int | None:
    """Return the step at which a rung ends, or None for the last. The learning rate follows the full schedule, so that
    a run can continue where the previous rung ended."""
    halvings = len(plan.rungs) - 1 - rung
    return math.ceil(settings.steps / 2**halvings) if halvings else None


def _can_start(job: Job, results: Mapping[Job, RunResult]) -> bool:
    """Return whether the job's run of the previous rung, if any, left a checkpoint to continue from."""
    return job.rung == 0 or results[job._replace(rung=job.rung - 1)].is_comparable


def _mean_bpb(plan: Plan, results: Mapping[Job, RunResult], cell: int, rung: int) -> float:
    """Return mean bits per byte over the seeds, infinite if one of them has no result."""
    total = 0.0
    for seed in plan.seeds:
        result = results.get(Job(cell, seed, rung))
        if result is None or not result.is_comparable or result.val_bpb is None:
            return math.inf
        total += result.val_bpb
    return total / len(plan.seeds)
