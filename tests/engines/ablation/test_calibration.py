"""Studies of nothing: simulated results without any true difference give a false verdict in at most 5 % of studies."""

import math
import random

import pytest

from engines.ablation.analysis import analyse
from engines.ablation.plan import Job, Plan, make_plan
from engines.ablation.results import Point, Result
from engines.ablation.schedule import wanted

STUDIES = 600
# Three standard errors of a rate of 5 % over so many studies; halving without a correction gave 11 %.
HIGHEST_RATE = 0.05 + 3 * math.sqrt(0.05 * 0.95 / STUDIES)


def simulated(job: Job, noise: float) -> Result:
    curve = (Point(1, 100, 1.0, 4.0 + noise),)
    return Result(job, f"run-{job.cell}-{job.seed}", "finished", curve=curve, steps=1, tokens=100, train_seconds=1.0)


def has_false_verdict(plan: Plan, chance: random.Random) -> bool:
    """Simulate a study whose cells are all equal; a run keeps most of its noise from rung to rung, as real ones do."""
    noise = {(cell, seed): chance.gauss(0, 0.02) for cell in range(len(plan.cells)) for seed in plan.seeds}
    done: dict[Job, Result] = {}
    while jobs := wanted(plan, done):
        for job in jobs:
            done[job] = simulated(job, noise[job.cell, job.seed] + chance.gauss(0, 0.005))
    return any(cell.verdict in ("better", "worse") for cell in analyse(plan, done).cells)


@pytest.mark.parametrize("is_halved", [False, True], ids=["grid", "halving"])
def test_at_most_one_study_in_twenty_finds_a_difference_that_is_not_there(is_halved: bool) -> None:
    plan = make_plan(
        {}, {"lr": tuple(n / 100 for n in range(1, 16))}, {"pick": "one-at-a-time", "halving": is_halved, "seeds": 5}
    )
    chance = random.Random(2026)
    false_verdicts = sum(has_false_verdict(plan, chance) for _ in range(STUDIES))
    assert false_verdicts / STUDIES <= HIGHEST_RATE
    assert false_verdicts > 0  # the simulation has noise that could be taken for a difference
