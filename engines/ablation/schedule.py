"""Which run of a study comes next: a function of the plan and of what is done, so that a study can go on anywhere."""

import math
from collections.abc import Mapping
from typing import Any

from engines.ablation.plan import Job, Plan
from engines.ablation.results import Result
from engines.settings.train import TrainSettings


def wanted(plan: Plan, results: Mapping[Job, Result]) -> list[Job]:
    """What is to be run before more can be decided, in order: a seed of every cell first, so that a table appears
    early. Empty when the study is done."""
    for rung in range(len(plan.rungs)):
        jobs = [Job(cell, seed, rung) for seed in plan.seeds for cell in cells_of_rung(plan, results, rung)]
        missing = [job for job in jobs if job not in results and _is_worth_it(job, results)]
        if missing:
            return missing
    return []


def every_job(plan: Plan) -> list[Job]:
    """All that could ever be wanted."""
    rungs, cells = range(len(plan.rungs)), range(len(plan.cells))
    return [Job(cell, seed, rung) for rung in rungs for seed in plan.seeds for cell in cells]


def cells_of_rung(plan: Plan, results: Mapping[Job, Result], rung: int) -> list[int]:
    """Those that a rung trains: at first all, then the base and the best of the others so far."""
    cells = list(range(len(plan.cells)))
    for passed in range(rung):
        others = [cell for cell in cells if cell != plan.base_index]
        others.sort(key=lambda cell: (_score(plan, results, cell, passed), cell))
        cells = sorted([plan.base_index, *others[: plan.rungs[passed + 1] - 1]])
    return cells


def settings_of_rung(plan: Plan, settings: TrainSettings, rung: int) -> dict[str, Any]:
    """Return the settings of a later rung that replace the cell's own: a study of an earlier version may have ended
    the previous rung by a token budget."""
    return {"steps": settings.steps, "tokens": settings.tokens} if rung else {}


def stop_of_rung(plan: Plan, settings: TrainSettings, rung: int) -> int | None:
    """Return the step at which a rung ends, or None for the last. The learning rate follows the full schedule, so that
    a run can continue where the previous rung ended."""
    halvings = len(plan.rungs) - 1 - rung
    return math.ceil(settings.steps / 2**halvings) if halvings else None


def _is_worth_it(job: Job, results: Mapping[Job, Result]) -> bool:
    """A run that broke on the rung before has nothing to go on from."""
    return job.rung == 0 or results[job._replace(rung=job.rung - 1)].is_comparable


def _score(plan: Plan, results: Mapping[Job, Result], cell: int, rung: int) -> float:
    """Mean bits per byte over the seeds, infinite if one of them came to nothing."""
    total = 0.0
    for seed in plan.seeds:
        result = results.get(Job(cell, seed, rung))
        if result is None or not result.is_comparable or result.val_bpb is None:
            return math.inf
        total += result.val_bpb
    return total / len(plan.seeds)
