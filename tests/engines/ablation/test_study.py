"""What a queue that was killed has left behind, as the next one finds it."""

from pathlib import Path

import pytest
from builders import QUICK, write_text

from engines.ablation.plan import Job, make_plan
from engines.ablation.study import Study, create_study
from engines.errors import UserError
from engines.runs.checked_json import write_json
from engines.runs.launch import launch
from engines.runs.lookup import all_runs
from engines.runs.store import Run
from engines.training.fork import fork_run
from engines.training.new_run import new_run


def make_study(folder: Path) -> Study:
    asked = {"data": str(write_text(folder)), **QUICK}
    return create_study(folder / "results", make_plan(asked, {"lr": (0.03, 0.01, 0.003)}, {"halving": True}))


def made(study: Study, job: Job) -> Run:
    """A run as the queue makes it, up to where it is killed."""
    return new_run(study.plan.given_of(study.plan.cells[job.cell], job.seed), study.results, study.mark(job))


def test_a_run_that_was_made_but_not_linked_is_linked(tmp_path: Path) -> None:
    study, job = make_study(tmp_path), Job(1, 1337)
    run = made(study, job)
    assert study.run_of(job) is None
    study.adopt_strays()
    assert study.run_of(job) == run


def test_a_run_that_was_being_copied_is_removed_and_one_that_is_linked_stays(tmp_path: Path) -> None:
    study, job = make_study(tmp_path), Job(1, 1337)
    first = made(study, job)
    study.link(job, first)
    launch(first).wait()
    second, third = (fork_run(first, {"steps": 30}, study.mark(job._replace(rung=rung))) for rung in (1, 2))
    study.link(job._replace(rung=1), second)
    assert third in all_runs(study.results)
    study.adopt_strays()
    assert set(all_runs(study.results)) == {first, second}


@pytest.mark.parametrize(
    "damage",
    [{"axes": [{"name": 1}]}, {"cells": [{"changes": 2}]}, {"base": {}}, {"base": "x"}, {"rungs": "xx"}, {"seeds": 3}],
)
def test_a_plan_with_something_else_in_a_place_is_damaged(tmp_path: Path, damage: dict[str, object]) -> None:
    study = make_study(tmp_path)
    assert study.plan.total
    write_json(study.config_path, study.config | damage)
    with pytest.raises(UserError, match="damaged"):
        _ = study.plan
