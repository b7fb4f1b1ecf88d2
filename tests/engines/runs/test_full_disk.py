"""A full disk, a deleted folder or foreign content: one sentence, nothing half-made, and the run can be resumed."""

import contextlib
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import events_of, finished_run, make_run

from engines.ablation.plan import Plan, make_plan
from engines.ablation.study import create_study
from engines.errors import UserError
from engines.reproduce.replay import create_replay, derive_settings, get_end_point, read_recorded_run
from engines.runs import control, liveness
from engines.runs.control import Inbox
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from engines.training.create_run import create_run
from engines.training.fork import fork_run

TESTS_FOLDER = str(Path(__file__).parents[2])
LONG = {"steps": 10_000_000, "eval_every": 1_000_000}
PATIENCE = 60.0  # seconds, on a busy machine


@contextlib.contextmanager
def full_disk(free: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("trained"))


def replay(run: Run) -> Run:
    past = read_recorded_run(run)
    return create_replay(past, past.last, derive_settings(past, {}), run.results, get_end_point(past))


def plan_of(run: Run) -> Plan:
    return make_plan({"data": run.config["resolved"]["data"], "steps": 4}, {"lr": (0.1, 0.2)}, {})


CREATIONS: dict[str, Callable[[Run], object]] = {
    "a run": lambda run: create_run(run.config["given"], run.results),
    "a fork": lambda run: fork_run(run, {"steps": 30}),
    "a reproduction": replay,
    "a study": lambda run: create_study(run.results, plan_of(run)),
}


@pytest.mark.parametrize("free", [0, 600, 3000])
@pytest.mark.parametrize("create", CREATIONS.values(), ids=CREATIONS.keys())
def test_a_run_that_cannot_be_created_on_a_full_disk_leaves_nothing_behind(
    create: Callable[[Run], object], free: int, trained: Run
) -> None:
    plan_of(trained)
    (trained.results / "studies").mkdir(exist_ok=True)
    before = files_below(trained.results)
    with full_disk(free):
        try:
            create(trained)
        except UserError as error:
            assert "File too large" in str(error) and "\n" not in str(error)
        else:
            assert free, "there was room after all"
            return
    assert files_below(trained.results) == before


def test_a_results_directory_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(UserError, match="no run can be created in"):
        make_run(tmp_path)


def test_the_checkpoint_directory_of_a_deleted_run_is_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: bytes(size))  # always the same name
    first = make_run(tmp_path, checkpoint_dir=str(tmp_path / "drive"))
    left_over = first.checkpoints_dir
    left_over.mkdir(parents=True)
    shutil.rmtree(first.path)
    assert make_run(tmp_path, checkpoint_dir=str(tmp_path / "drive")).checkpoints_dir != left_over


def test_a_request_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with full_disk(0), pytest.raises(UserError, match="stop cannot be requested"):
        control.send_request(run.control_dir, "stop")
    assert files_below(run.control_dir) == []


def test_a_worker_that_cannot_be_started_leaves_the_lock_free(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with full_disk(0), pytest.raises(UserError, match="cannot be started: File too large"):
        launch(run)
    assert not liveness.is_lock_held(run.lock_path)
    assert launch(run).wait() == 0


@pytest.mark.parametrize(
    ("place", "code", "state", "sentence"),
    [
        ("event:1", 3, "halted", "events.jsonl cannot be written: No space left on device"),
        ("event:4", 3, "halted", "events.jsonl cannot be written: No space left on device"),
        ("json:1", 1, "crashed", "No space left on device"),
        ("json:2", 0, "finished", ""),
        ("checkpoint:1", 1, "crashed", "no checkpoint could be written"),
        ("checkpoint:5", 1, "crashed", "no checkpoint could be written"),
    ],
)
def test_a_run_on_a_full_disk_reports_it_and_can_be_resumed(
    place: str, code: int, state: str, sentence: str, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, checkpoint_every=5)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    assert launch(run, "full_disk_worker", {"FULL_AT": place}).wait() == code
    history = read_history(run)
    ended = liveness.find_ending(run, history)
    assert ended and ended["traceback"] is None and sentence in (ended["detail"] or "")
    assert liveness.derive_state(run, history) == state
    assert "Traceback" not in run.log_path.read_text()
    assert launch(run).wait() == 0
    assert read_history(run).losses == read_history(trained).losses


def test_a_start_that_cannot_write_its_first_event_is_not_reported_as_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path)
    monkeypatch.setenv("PYTHONPATH", TESTS_FOLDER)
    assert launch(run, "full_disk_worker", {"FULL_AT": "event:1"}).wait() == 3
    assert liveness.derive_state(run, read_history(run)) == "halted"
    assert launch(run).wait() == 0
    assert liveness.derive_state(run, read_history(run)) == "finished"


@pytest.mark.parametrize("paused", [False, True], ids=["training", "paused"])
def test_a_worker_whose_run_is_deleted_ends_with_a_sentence(paused: bool, tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG)
    worker = launch(run)
    wait_until(lambda: b'"steps"' in run.events_path.read_bytes(), "no step was made")
    if paused:
        control.send_request(run.control_dir, "pause")
        wait_until(lambda: b'"pause"' in run.events_path.read_bytes(), "the run was not paused")
    history = read_history(run)
    shutil.rmtree(run.path)
    assert worker.wait(PATIENCE) == 3
    ended = liveness.find_ending(run, history)
    assert ended and "was deleted" in ended["detail"] and not run.path.exists()


def test_a_deleted_launch_folder_does_not_stop_the_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, **LONG)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    worker = launch(run)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").rmdir()
    wait_until(lambda: bool(events_of(run, "heartbeat") and events_of(run, "system")), "no heartbeat")
    assert events_of(run, "system")[0]["disk_free_bytes"] > 0
    worker.kill()
    worker.wait()


FOREIGN: dict[str, Callable[[Run], object]] = {
    "a folder like a request": lambda run: (run.control_dir / f"{2**63}-stop.json").mkdir(),
    "numbers of other scripts": lambda run: (run.control_dir / "²-stop.json").touch(),
    "a file for control": lambda run: (run.control_dir.rmdir(), run.control_dir.touch()),
    "other files": lambda run: (run.control_dir / "notes.txt").write_text("stop"),
    "a checkpoint without number": lambda run: (run.checkpoints_dir / "step-²").mkdir(parents=True),
    "a folder for the summary": lambda run: run.summary_path.mkdir(),
}


@pytest.mark.parametrize("add", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_content_does_not_end_a_run(add: Callable[[Run], object], tmp_path: Path) -> None:
    run = make_run(tmp_path)
    add(run)
    assert launch(run).wait() == 0
    assert read_history(run).step == 20 and "Traceback" not in run.log_path.read_text()


@pytest.mark.parametrize("name", ["checkpoints", "events.jsonl"])
def test_foreign_content_in_place_of_a_file_or_folder_is_reported(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    if name == "events.jsonl":
        run.events_path.unlink()
        run.events_path.mkdir()
    else:
        run.checkpoints_dir.touch()
    assert launch(run).wait() == 1
    log = run.log_path.read_text()
    assert "Traceback" not in log
    ended = liveness.find_ending(run, read_history(run))
    assert ended and name in ended["detail"]


def test_a_request_that_cannot_be_deleted_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path, since_ns=0)
    sent = control.send_request(tmp_path, "pause")
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: (_ for _ in ()).throw(PermissionError()))
    found = inbox.next()
    assert found == sent and found
    inbox.done(found)
    assert inbox.next() is None
