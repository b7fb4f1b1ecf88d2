"""A study's directory after its queue was killed, and damaged plans."""

from pathlib import Path

import pytest
from builders import QUICK, write_text

from engines.ablation.plan import Job, make_plan
from engines.ablation.study import Study, create_study
from engines.errors import UserError
from engines.runs.checked_json import write_json
from engines.runs.launch import launch
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.training.create_run import create_run
from engines.training.fork import fork_run


def make_study(folder: Path) -> Study:
    settings = {"data": str(write_text(folder)), **QUICK}
    return create_study(folder / "results", make_plan(settings, {"lr": (0.03, 0.01, 0.003)}, {"halving": True}))


def create_cell_run(study: Study, job: Job) -> Run:
    """Create a run as the queue does, up to the point where it is killed."""
    return create_run(
        study.plan.run_settings(study.plan.cells[job.cell], job.seed), study.results, study.manifest_entry(job)
    )


def test_an_orphan_run_is_linked(tmp_path: Path) -> None:
    study, job = make_study(tmp_path), Job(1, 1337)
    run = create_cell_run(study, job)
    assert study.find_run(job) is None
    study.relink_orphan_runs()
    assert study.find_run(job) == run


def test_an_orphan_copy_is_removed_and_a_linked_one_stays(tmp_path: Path) -> None:
    study, job = make_study(tmp_path), Job(1, 1337)
    first = create_cell_run(study, job)
    study.link_run(job, first)
    launch(first).wait()
    second, third = (fork_run(first, {"steps": 30}, study.manifest_entry(job._replace(rung=rung))) for rung in (1, 2))
    study.link_run(job._replace(rung=1), second)
    assert third in list_runs(study.results)
    study.relink_orphan_runs()
    assert set(list_runs(study.results)) == {first, second}


@pytest.mark.parametrize(
    "damage",
    [{"axes": [{"name": 1}]}, {"cells": [{"changes": 2}]}, {"base": {}}, {"base": "x"}, {"rungs": "xx"}, {"seeds": 3}],
)
def test_a_plan_with_a_wrong_type_is_damaged(tmp_path: Path, damage: dict[str, object]) -> None:
    study = make_study(tmp_path)
    assert study.plan.total
    write_json(study.config_path, study.config | damage)
    with pytest.raises(UserError, match="damaged"):
        _ = study.plan
