"""Queues of studies, as real processes: their results, and what happens when they are stopped, killed or damaged."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import QUICK, events_of, make_run, write_text
from patience import wait_until

from engines.ablation import results
from engines.ablation.plan import Job, make_plan
from engines.ablation.progress import StudyProgress
from engines.ablation.schedule import all_jobs
from engines.ablation.study import Study, create_study, find_study, load_results, start_queue
from engines.errors import UserError
from engines.runs import control, liveness
from engines.runs.history import History, read_history
from engines.runs.launch import launch
from engines.runs.lookup import list_runs
from engines.runs.store import Run

SLOW = {"steps": 400, "eval_every": 100, "sample_tokens": 0}  # about half a second


def make_study(
    folder: Path, axes: dict[str, tuple[Any, ...]], given: dict[str, Any] | None = None, **options: Any
) -> Study:
    settings = {"data": str(write_text(folder)), **QUICK, **(given or {})}
    return create_study(folder / "results", make_plan(settings, axes, {"seeds": 2, "jobs": 2, **options}))


def outcomes(study: Study) -> dict[str, list[str]]:
    plan = study.plan
    found: dict[str, list[str]] = {cell.name: [] for cell in plan.cells}
    for job, result in load_results(study, plan).items():
        found[plan.cells[job.cell].name].append(result.outcome)
    return found


def losses(study: Study) -> dict[Job, list[float]]:
    runs = {job: study.find_run(job) for job in all_jobs(study.plan)}
    return {job: list(read_history(run).losses) for job, run in runs.items() if run}


def starts(run: Run) -> int:
    return len(events_of(run, "run"))


def live_runs(study: Study) -> list[Run]:
    return [run for run in list_runs(study.results) if liveness.is_lock_held(run.lock_path)]


def state(study: Study) -> str:
    return liveness.derive_state(study, read_history(study))


def test_a_study_leaves_ordinary_runs_links_and_tables(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01, 0.1)})
    assert start_queue(study).wait() == 0 and state(study) == "finished"
    runs = list_runs(study.results)
    assert len(runs) == 6 and {liveness.derive_state(run, read_history(run)) for run in runs} == {"finished"}
    assert {Path(link).resolve() for link in study.links_dir.iterdir()} == {run.path for run in runs}
    run = study.find_run(Job(1, 1338))
    assert run and run.config["given"]["lr"] == 0.01 and run.config["seed"] == 1338
    assert run.config["study"] == {"id": "study-1", "cell": 1, "seed": 1338, "rung": 0}
    rows = [json.loads(line) for line in (study.path / "table.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["base"] * 2 + ["lr=0.01"] * 2 + ["lr=0.1"] * 2
    assert (study.path / "table.csv").read_text().count("\n") == 7
    stems = {path.stem for path in study.results.glob("ablate_style-classic_seed-1337_steps-20_*")}
    assert len(stems) == 1 and len(list(study.results.glob("ablate_*"))) == 3
    (ended,) = events_of(study, "ended")
    assert all(Path(path).exists() for path in ended["tables"])


def test_events_record_the_start_and_end_of_every_run(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01,)}, jobs=1)
    start_queue(study).wait()
    phases = [(event["done"], event["total"], event.get("cell", {})) for event in events_of(study, "phase")]
    assert phases[0] == (0, 4, {})
    assert [(cell["cell"], cell["seed"], cell["state"]) for _, _, cell in phases[1:5]] == [
        ("base", 1337, "running"),
        ("base", 1337, "finished"),
        ("lr=0.01", 1337, "running"),
        ("lr=0.01", 1337, "finished"),
    ]
    assert [done for done, _, _ in phases] == [0, 0, 1, 1, 2, 2, 3, 3, 4] and phases[-1][2]["val_bpb"] > 0
    progress = StudyProgress()
    progress.apply(events_of(study))
    assert state(study) == "finished" and progress.done == 4 and len(progress.statuses) == 4


def test_a_cell_that_diverges_or_crashes_is_a_result(tmp_path: Path) -> None:
    given = {"optimizer": "sgd", "lr": 0.1, "tokenizer": "byte", "prompt": "é"}  # characters of the text lack é
    given |= {"steps": 4, "eval_every": 2, "eval_tokens": 20, "sample_tokens": 2}  # 256 bytes make each token slow
    study = make_study(tmp_path, {"lr": (1e300,), "tokenizer": ("char",)}, given, pick="one-at-a-time")
    assert start_queue(study).wait() == 0
    found = outcomes(study)
    assert found == {"base": ["finished"] * 2, "lr=1e+300": ["diverged"] * 2, "tokenizer=char": ["crashed"] * 2}
    table = json.loads((study.path / "table.json").read_text())
    assert {cell["variant"]: cell["verdict"] for cell in table["cells"]}["tokenizer=char"] == "crashed"
    assert all(rows_where(study, "outcome", "diverged")[0][name] is None for name in ("val_bpb", "final_loss"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study of slow runs, each in a process of its own."""
    study = make_study(tmp_path_factory.mktemp("undisturbed"), {"lr": (0.01,)}, SLOW, one_process=False)
    assert start_queue(study).wait() == 0
    return study


def rows_where(study: Study, column: str, value: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (study.path / "table.jsonl").read_text().splitlines()]
    return [row for row in rows if row[column] == value]


@pytest.mark.parametrize("one_process", [False, True])
def test_a_resumed_study_trains_only_what_is_missing(one_process: bool, tmp_path: Path) -> None:
    """Runs continue after their queue is killed; the next queue waits for them and restarts none."""
    study = make_study(tmp_path, {"lr": (0.01,)}, SLOW, one_process=one_process)
    queue = start_queue(study)
    wait_until(lambda: len(live_runs(study)) == 2 and all(read_history(run).step for run in live_runs(study)))
    queue.kill()
    queue.wait()
    assert state(study) == "killed" and len(live_runs(study)) == 2
    assert start_queue(study).wait() == 0
    assert outcomes(study) == {"base": ["finished"] * 2, "lr=0.01": ["finished"] * 2}
    assert [starts(run) for run in list_runs(study.results)] == [1] * 4


@pytest.mark.parametrize("one_process", [False, True])
def test_a_study_killed_with_its_runs_ends_with_the_losses_of_an_undisturbed_one(
    one_process: bool, undisturbed: Study, tmp_path: Path
) -> None:
    """Its runs may share a process; those of the undisturbed study do not."""
    study = make_study(tmp_path, {"lr": (0.01,)}, SLOW, one_process=one_process)
    killed = start_queue(study)
    wait_until(lambda: any(events_of(run, "checkpoint") for run in live_runs(study)))
    killed.kill()
    for run in live_runs(study):
        os.kill(events_of(run, "run")[-1]["pid"], signal.SIGKILL)
    killed.wait()
    wait_until(lambda: not live_runs(study))
    assert start_queue(study).wait() == 0
    assert losses(study) == losses(undisturbed) and len(list_runs(study.results)) == 4
    assert "resumed" in {event["kind"] for run in list_runs(study.results) for event in events_of(run)}


def test_a_run_created_just_before_a_kill_is_not_created_twice(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01,)})
    start_queue(study).wait()
    for link in list(study.links_dir.iterdir())[:2]:
        link.unlink()
    assert start_queue(study).wait() == 0
    assert len(list_runs(study.results)) == 4 and len(list(study.links_dir.iterdir())) == 4
    assert [starts(run) for run in list_runs(study.results)] == [1] * 4


def test_stopping_a_study_stops_its_runs_after_a_checkpoint(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01,)}, {**SLOW, "steps": 1_000_000}, seeds=1)
    queue = start_queue(study)
    wait_until(lambda: len(live_runs(study)) == 2 and all(read_history(run).step for run in live_runs(study)))
    control.send_request(study.control_dir, "pause")
    wait_until(lambda: [liveness.derive_state(run, read_history(run)) for run in live_runs(study)] == ["paused"] * 2)
    assert state(study) == "paused"
    with pytest.raises(UserError, match="is already running"):
        start_queue(study)
    control.send_request(study.control_dir, "resume")
    control.send_request(study.control_dir, "checkpoint")  # not a request for a study
    wait_until(lambda: len(events_of(study, "control")) == 3)
    queue.terminate()
    assert queue.wait() == 143 and live_runs(study) == [] and state(study) == "stopped"
    assert outcomes(study) == {"base": ["stopped"], "lr=0.01": ["stopped"]}
    assert [event["outcome"] for event in events_of(study, "control")] == ["done", "done", "not for a study"]


def test_short_runs_share_a_process_and_are_ordinary_runs(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01,)}, jobs=1)  # one_process is auto, and these runs are short
    apart = make_study(tmp_path, {"lr": (0.01,)}, jobs=1, one_process=False)
    assert start_queue(study).wait() == 0 == start_queue(apart).wait()
    for one, processes in ((study, 1), (apart, 4)):
        runs = [run for job in all_jobs(one.plan) if (run := one.find_run(job))]
        assert len({event["pid"] for run in runs for event in events_of(run, "run")}) == processes
        assert all(run.summary_path.exists() and liveness.START_MARK in run.log_path.read_text() for run in runs)
    assert losses(study) == losses(apart)


def test_a_killed_pool_process_affects_one_run(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01,)}, SLOW, jobs=1, one_process=True)
    queue = start_queue(study)
    wait_until(lambda: len(live_runs(study)) == 1 and read_history(live_runs(study)[0]).step)
    os.kill(events_of(live_runs(study)[0], "run")[0]["pid"], signal.SIGKILL)
    assert queue.wait() == 0
    assert outcomes(study) == {"base": ["killed", "finished"], "lr=0.01": ["finished"] * 2}
    assert start_queue(study).wait() == 0  # retries the killed run
    assert outcomes(study) == {"base": ["finished"] * 2, "lr=0.01": ["finished"] * 2}


def test_a_deleted_run_is_trained_again(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01,)}, seeds=1)
    start_queue(study).wait()
    subprocess.run(["rm", "-r", *map(str, [study.find_run(Job(1, 1337)).path])], check=True)  # type: ignore[union-attr]
    assert study.find_run(Job(1, 1337)) is None and start_queue(study).wait() == 0
    assert outcomes(study) == {"base": ["finished"], "lr=0.01": ["finished"]}


def test_a_missing_text_is_recorded_as_the_runs_end(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.01,)}, seeds=1)
    (tmp_path / "text.txt").unlink()
    assert start_queue(study).wait() == 0
    cells = [event["cell"] for event in events_of(study, "phase") if "cell" in event]
    assert [cell["state"] for cell in cells] == ["crashed"] * 2 and "text.txt" in cells[0]["detail"]


def test_halving_continues_runs_and_ends_like_an_uninterrupted_run(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.03, 0.01, 1e-6)}, halving=True, seeds=1)
    assert start_queue(study).wait() == 0 and study.plan.rungs == (3, 2)
    assert study.plan.base == "lr=0.03"
    found = losses(study)
    assert sorted(job.rung for job in found) == [0, 0, 0, 1, 1] and {
        len(found[Job(0, 1337, rung)]) for rung in (0, 1)
    } == {10, 20}
    whole = make_run(tmp_path, lr=0.03)
    launch(whole).wait()
    assert list(read_history(whole).losses) == found[Job(0, 1337, 1)]
    run = study.find_run(Job(0, 1337, 1))
    assert run and run.config["parent"]["step"] == 10 and run.config["study"]["rung"] == 1


def test_studies_are_numbered_and_found(tmp_path: Path) -> None:
    first = make_study(tmp_path, {"lr": (0.01,)})
    second = make_study(tmp_path, {"lr": (0.01,)})
    assert (first.id, second.id) == ("study-1", "study-2")
    assert find_study("last", tmp_path / "results").id == "study-2" == find_study(str(second.path), tmp_path).id
    with pytest.raises(UserError, match="study 'study-3' not found"):
        find_study("study-3", tmp_path / "results")
    second.config_path.write_text("{")
    with pytest.raises(UserError, match=r"no readable plan\.json"):
        _ = second.plan
    second.config_path.write_text('{"v": 99}')
    with pytest.raises(UserError, match="another version"):
        _ = second.plan


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="a process' environment is read from /proc")
def test_a_worker_sees_the_gpu_of_its_slot(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=10_000_000, eval_every=0)
    worker = launch(run, environment={"CUDA_VISIBLE_DEVICES": "5"})
    wait_until(lambda: events_of(run, "run"))
    assert b"CUDA_VISIBLE_DEVICES=5\0" in Path(f"/proc/{worker.pid}/environ").read_bytes()
    worker.kill()
    worker.wait()


def test_plans_studies_and_reports_import_nothing_heavy() -> None:
    code = (
        "import sys, engines.ablation.tables, engines.ablation.queue, engines.ablation.study_file; print(*sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert {"torch", "numpy", "textual", "rich"}.isdisjoint(found.stdout.split())


@pytest.mark.parametrize(("loss", "outcome"), [(2.5, "finished"), (None, "diverged"), (1e217, "diverged")])
def test_a_run_that_finished_with_an_absurd_loss_has_diverged(loss: float | None, outcome: str) -> None:
    """The square of such a loss overflows, which would prevent the comparison of all cells."""
    history = History()
    history.apply([{"t": 1.0, "kind": "eval", "step": 2, "loss": loss, "bpb": loss, "best": False}])
    assert results.classify_outcome("finished", history) == outcome


def test_unwritable_tables_cost_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, {"lr": (0.1, 0.2)}, seeds=1)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    assert launch(study, "full_disk_queue").wait() == 1
    ended = read_history(study).ended
    assert ended and ended["reason"] == "crashed" and "No space left" in ended["detail"] and ended["traceback"] is None
    before = load_results(study, study.plan)
    assert {result.outcome for result in before.values()} == {"finished"} and len(before) == study.plan.total
    assert start_queue(study).wait() == 0
    assert load_results(study, study.plan) == before and (study.path / "table.json").exists()


@pytest.mark.parametrize("key", ["given", "seeds"])
def test_an_edited_plan_is_detected_by_its_checksum(key: str, tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.1, 0.2)})
    content = json.loads(study.config_path.read_text())
    content[key] = {**content[key], "lr": 0.3} if key == "given" else [7, 8]
    study.config_path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"plan\.json"):
        _ = study.plan


def test_the_queue_of_a_deleted_study_ends_and_leaves_its_runs_alone(tmp_path: Path) -> None:
    study = make_study(tmp_path, {"lr": (0.1, 0.2)}, {"steps": 10_000_000, "eval_every": 1_000_000}, one_process=False)
    process = start_queue(study)
    wait_until(lambda: any(read_history(run).step for run in list_runs(study.results)), "no run made a step")
    shutil.rmtree(study.path)
    assert process.wait(60) == 3
    live = [run for run in list_runs(study.results) if liveness.is_lock_held(run.lock_path)]
    assert live
    for run in live:
        control.send_request(run.control_dir, "stop")
    wait_until(lambda: not any(liveness.is_lock_held(run.lock_path) for run in live), "the runs did not stop")
    assert {liveness.derive_state(run, read_history(run)) for run in live} == {"stopped"}
