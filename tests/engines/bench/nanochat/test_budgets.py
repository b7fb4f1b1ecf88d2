"""Both sides of a race train on as many tokens, whatever the sizes of their steps."""

import json

import pytest

from engines.bench.nanochat.budgets import BUDGETS, our_flags, upstream_flags


@pytest.mark.parametrize("name", BUDGETS)
def test_both_sides_are_told_as_many_tokens(name: str) -> None:
    budget = BUDGETS[name]
    ours, theirs = our_flags(budget, budget.our_steps), upstream_flags(budget, budget.steps)
    steps, rows, length = (int(ours[ours.index(flag) + 1]) for flag in ("--steps", "--batch-size", "--context-length"))
    told = dict(flag.split("=") for flag in theirs)
    assert steps * rows * length == int(told["--num-iterations"]) * int(told["--total-batch-size"])


def test_a_short_schedule_has_fewer_tokens_than_the_whole_training() -> None:
    shorter = {name: budget.short for name, budget in BUDGETS.items() if budget.short}
    assert shorter.keys() == {"q4", "q6"}
    for name, short in shorter.items():
        assert short.steps * short.rows < BUDGETS[name].our_steps * BUDGETS[name].our_batch_size


@pytest.mark.parametrize("name", BUDGETS)
def test_what_a_report_tells_of_a_budget_is_what_json_gives_back(name: str) -> None:
    facts = BUDGETS[name].facts()
    assert json.loads(json.dumps(facts)) == facts
