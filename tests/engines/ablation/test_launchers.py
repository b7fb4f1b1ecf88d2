"""Launchers: Slurm through submitit's local executor, a Ray cluster on this machine, and the pool of processes."""

import time
from pathlib import Path
from typing import Any

import pytest
from builders import QUICK, events_of, make_run, write_text
from patience import PATIENCE

from engines.ablation import launchers
from engines.ablation.plan import make_plan
from engines.ablation.study import Study, create_study, load_results, start_queue
from engines.ablation.worker_pool import are_short_runs, is_short_run
from engines.errors import SettingsError, UserError
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.lookup import list_runs
from engines.settings.resolve import resolve


@pytest.fixture
def small_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure Ray without usage reports and with little shared memory."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", str(100 << 20))


def train_study(folder: Path, **options: Any) -> Study:
    """Train a study of two cells."""
    given = {"data": str(write_text(folder)), **QUICK}
    study = create_study(folder / "results", make_plan(given, {"lr": (0.01,)}, {"seeds": 1, "jobs": 2, **options}))
    assert start_queue(study).wait() == 0, events_of(study, "ended")
    assert [result.outcome for result in load_results(study, study.plan).values()] == ["finished"] * 2
    return study


@pytest.mark.extras("submitit")
def test_slurm_trains_the_cells(tmp_path: Path) -> None:
    study = train_study(tmp_path, launcher="slurm", launcher_options="cluster=local,timeout_min=5")
    assert len(list((study.path / "slurm").glob("*_result.pkl"))) == 2


@pytest.mark.extras("submitit")
def test_a_missing_cluster_is_reported_in_one_sentence(tmp_path: Path) -> None:
    study = create_study(tmp_path / "results", make_plan({}, {}, {"launcher": "slurm"}))
    assert start_queue(study).wait() == 1
    assert "--launcher slurm cannot start: Could not detect" in events_of(study, "ended")[0]["detail"]


@pytest.mark.extras("ray")
@pytest.mark.usefixtures("small_ray")
def test_ray_trains_the_cells(tmp_path: Path) -> None:
    study = train_study(tmp_path, launcher="ray", launcher_options="num_cpus=1")
    assert len({event["pid"] for run in list_runs(study.results) for event in events_of(run, "run")}) == 2


@pytest.mark.extras("ray")
@pytest.mark.usefixtures("small_ray")
def test_a_stop_cancels_runs_in_the_clusters_queue(tmp_path: Path) -> None:
    """The runs ask for a thousand CPUs, so they never begin, and the study still ends."""
    given = {"data": str(write_text(tmp_path)), **QUICK, "steps": 10_000_000, "eval_every": 0}
    options = {"seeds": 1, "jobs": 2, "launcher": "ray", "launcher_options": "num_cpus=1000"}
    study = create_study(tmp_path / "results", make_plan(given, {"lr": (0.01,)}, options))
    queue = start_queue(study)
    deadline = time.monotonic() + PATIENCE
    while len([event for event in events_of(study, "phase") if "cell" in event]) < 2:
        assert time.monotonic() < deadline and queue.poll() is None
        time.sleep(0.05)
    queue.terminate()
    assert queue.wait(timeout=PATIENCE) == 143
    assert [events_of(run) for run in list_runs(study.results)] == [[], []]


def test_launcher_options_are_parsed() -> None:
    assert launchers.parse_options("slurm_partition=gpu,gpus_per_node=1,mem_gb=1.5") == {
        "slurm_partition": "gpu", "gpus_per_node": 1, "mem_gb": 1.5,
    }  # fmt: skip
    with pytest.raises(UserError, match="'gpu' has no value"):
        launchers.parse_options("gpu")


def test_a_missing_launcher_package_is_reported_before_anything_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs the package submitit.*pip install 'nanochat-tui\[slurm\]'"):
        make_plan({}, {}, {"launcher": "slurm"})
    with pytest.raises(SettingsError, match="needs --launcher slurm or ray"):
        make_plan({}, {}, {"launcher_options": "gpu"})


def test_a_run_submitted_twice_is_trained_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert launchers.run_on_node(str(run.path)) == 0 and read_history(run).step == 20
    assert launchers.run_on_node(str(run.path)) == 0 and len(events_of(run, "run")) == 1
    live = make_run(tmp_path, steps=10_000_000, eval_every=0)
    worker = launch(live)
    assert launchers.run_on_node(str(live.path)) == 1
    worker.kill()
    worker.wait()


def test_run_length_is_estimated_from_the_vocabulary_of_the_runs_own_text(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    settings = resolve({"data": str(text), "steps": 300})
    assert not is_short_run(settings, 257) and are_short_runs(
        [settings, settings]
    )  # with 257 characters as with far fewer
    assert not are_short_runs([settings, resolve({"data": str(tmp_path / "gone.txt"), "steps": 300})])
