"""Budgets: both sides of a benchmark train on the same number of tokens."""

import json

import pytest

from engines.bench.nanochat.budgets import BUDGETS, build_our_flags, build_upstream_flags


@pytest.mark.parametrize("name", BUDGETS)
def test_both_sides_train_on_the_same_number_of_tokens(name: str) -> None:
    budget = BUDGETS[name]
    ours, theirs = build_our_flags(budget, budget.our_steps), build_upstream_flags(budget, budget.steps)
    steps, rows, length = (int(ours[ours.index(flag) + 1]) for flag in ("--steps", "--batch-size", "--context-length"))
    options = dict(flag.split("=") for flag in theirs)
    assert steps * rows * length == int(options["--num-iterations"]) * int(options["--total-batch-size"])


def test_a_short_schedule_has_fewer_tokens_than_the_whole_training() -> None:
    shorter = {name: budget.short for name, budget in BUDGETS.items() if budget.short}
    assert shorter.keys() == {"q4", "q6"}
    for name, short in shorter.items():
        assert short.steps * short.rows < BUDGETS[name].our_steps * BUDGETS[name].our_batch_size


@pytest.mark.parametrize("name", BUDGETS)
def test_the_record_of_a_budget_is_read_back_from_json(name: str) -> None:
    record = BUDGETS[name].as_json()
    assert json.loads(json.dumps(record)) == record
