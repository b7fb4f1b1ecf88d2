"""Cells trained past one machine: by Slurm, through submitit's local executor, and on a Ray cluster started here."""

import time
from pathlib import Path
from typing import Any

import pytest
from builders import QUICK, events_of, make_run, write_text
from patience import PATIENCE

from engines.ablation import launchers
from engines.ablation.plan import make_plan
from engines.ablation.study import Study, create_study, results_so_far, start
from engines.ablation.worker_pool import _is_tiny, are_tiny
from engines.errors import SettingsError, UserError
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.lookup import all_runs
from engines.settings.resolve import resolve


@pytest.fixture
def small_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that reports nothing to its makers and takes little of the machine's shared memory."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", str(100 << 20))


def finish(folder: Path, **options: Any) -> Study:
    """A study of two cells, trained."""
    given = {"data": str(write_text(folder)), **QUICK}
    study = create_study(folder / "results", make_plan(given, {"lr": (0.01,)}, {"seeds": 1, "jobs": 2, **options}))
    assert start(study).wait() == 0, events_of(study, "ended")
    assert [result.outcome for result in results_so_far(study, study.plan).values()] == ["finished"] * 2
    return study


@pytest.mark.extras("submitit")
def test_slurm_trains_the_cells(tmp_path: Path) -> None:
    study = finish(tmp_path, launcher="slurm", launcher_options="cluster=local,timeout_min=5")
    assert len(list((study.path / "slurm").glob("*_result.pkl"))) == 2  # submitit's own word on it


@pytest.mark.extras("submitit")
def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    study = create_study(tmp_path / "results", make_plan({}, {}, {"launcher": "slurm"}))
    assert start(study).wait() == 1
    assert "--launcher slurm does not work here: Could not detect" in events_of(study, "ended")[0]["detail"]


@pytest.mark.extras("ray")
@pytest.mark.usefixtures("small_ray")
def test_ray_trains_the_cells(tmp_path: Path) -> None:
    study = finish(tmp_path, launcher="ray", launcher_options="num_cpus=1")
    assert len({event["pid"] for run in all_runs(study.results) for event in events_of(run, "run")}) == 2


@pytest.mark.extras("ray")
@pytest.mark.usefixtures("small_ray")
def test_a_stop_takes_back_what_still_waits_in_the_clusters_queue(tmp_path: Path) -> None:
    """No machine has a thousand processors: the runs never begin, and the study still comes to an end."""
    given = {"data": str(write_text(tmp_path)), **QUICK, "steps": 10_000_000, "eval_every": 0}
    options = {"seeds": 1, "jobs": 2, "launcher": "ray", "launcher_options": "num_cpus=1000"}
    study = create_study(tmp_path / "results", make_plan(given, {"lr": (0.01,)}, options))
    queue = start(study)
    deadline = time.monotonic() + PATIENCE
    while len([event for event in events_of(study, "phase") if "cell" in event]) < 2:
        assert time.monotonic() < deadline and queue.poll() is None
        time.sleep(0.05)
    queue.terminate()
    assert queue.wait(timeout=PATIENCE) == 143
    assert [events_of(run) for run in all_runs(study.results)] == [[], []]


def test_options_are_names_and_values() -> None:
    assert launchers.parse_options("slurm_partition=gpu,gpus_per_node=1,mem_gb=1.5") == {
        "slurm_partition": "gpu", "gpus_per_node": 1, "mem_gb": 1.5,
    }  # fmt: skip
    with pytest.raises(UserError, match="'gpu' must be a name and a value"):
        launchers.parse_options("gpu")


def test_a_launcher_that_is_not_here_is_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs submitit: pip install nanochat-tui\[slurm\]"):
        make_plan({}, {}, {"launcher": "slurm"})
    with pytest.raises(SettingsError, match="are for --launcher slurm"):
        make_plan({}, {}, {"launcher_options": "gpu"})


def test_a_machine_that_is_asked_twice_trains_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert launchers.train_there(str(run.path)) == 0 and read_history(run).step == 20
    assert launchers.train_there(str(run.path)) == 0 and len(events_of(run, "run")) == 1
    live = make_run(tmp_path, steps=10_000_000, eval_every=0)
    worker = launch(live)
    assert launchers.train_there(str(live.path)) == 1
    worker.kill()
    worker.wait()


def test_one_process_trains_runs_that_are_tiny_by_the_characters_of_their_own_text(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    settings = resolve({"data": str(text), "steps": 300})
    assert not _is_tiny(settings, 257) and are_tiny([settings, settings])  # with 257 characters as with far fewer
    assert not are_tiny([settings, resolve({"data": str(tmp_path / "gone.txt"), "steps": 300})])
