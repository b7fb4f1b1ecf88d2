"""Launching: the run is locked from the start, the worker has its own session and ignores the user's modules."""

import os
import resource
import signal
import time
from pathlib import Path

import pytest
from builders import events_of, make_run
from patience import PATIENCE

from engines.errors import SettingsError, UserError
from engines.runs import control, liveness
from engines.runs.history import read_history
from engines.runs.launch import launch
from engines.runs.store import Run
from engines.training.create_run import create_run

LONG = {"steps": 10_000_000, "eval_every": 1_000_000}


def wait_for(run: Run, text: bytes) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in run.events_path.read_bytes():
        assert time.monotonic() < deadline, f"{text!r} never came: {run.events_path.read_bytes()[-500:]!r}"
        time.sleep(0.005)


def test_a_run_is_locked_before_its_worker_has_done_anything(tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG)
    worker = launch(run)
    assert liveness.is_lock_held(run.lock_path)
    with pytest.raises(UserError, match="is already running"):
        launch(run)
    worker.kill()
    worker.wait()
    assert not liveness.is_lock_held(run.lock_path)


def test_a_worker_outlives_the_hang_up_of_its_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG)
    worker = launch(run)
    assert os.getsid(worker.pid) == worker.pid != os.getsid(0)
    wait_for(run, b'"steps"')
    worker.terminate()
    assert worker.wait() == 143


def test_a_module_in_the_working_directory_does_not_replace_the_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert launch(run).wait() == 0


def test_requests_are_done_and_answered_in_order(tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG, checkpoint_every=0)
    worker = launch(run)
    wait_for(run, b'"steps"')
    for verb in ("pause", "checkpoint", "evaluate", "sample"):
        control.send_request(run.control_dir, verb)
    wait_for(run, b'"verb":"sample"')
    assert liveness.derive_state(run, read_history(run)) == "paused"
    paused_at = read_history(run).step
    for kind in ("checkpoint", "eval", "sample"):
        assert paused_at in [event["step"] for event in events_of(run, kind)]
    control.send_request(run.control_dir, "resume")
    wait_for(run, b'"verb":"resume"')
    assert liveness.derive_state(run, read_history(run)) == "running"
    control.send_request(run.control_dir, "stop")
    assert worker.wait() == 0
    assert [event["verb"] for event in events_of(run, "control")] == [
        "pause", "checkpoint", "evaluate", "sample", "resume", "stop",
    ]  # fmt: skip
    assert read_history(run).step > paused_at and os.listdir(run.control_dir) == []
    assert liveness.derive_state(run, read_history(run)) == "stopped"


def test_requests_to_an_earlier_worker_are_deleted_unread(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    control.send_request(run.control_dir, "stop")
    assert launch(run).wait() == 0
    assert read_history(run).step == 20 and events_of(run, "control") == []
    assert os.listdir(run.control_dir) == []


def test_sigterm_leaves_a_checkpoint_of_the_last_step(tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG, checkpoint_every=0)
    worker = launch(run)
    wait_for(run, b'"steps"')
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 143
    history = read_history(run)
    assert history.ended and history.ended["reason"] == "terminated"
    assert history.checkpoints[-1]["step"] == history.step == history.ended["step"]


def test_a_worker_records_a_heartbeat_every_two_seconds(tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG)
    worker = launch(run)
    wait_for(run, b'"heartbeat"')
    wait_for(run, b'"system"')
    worker.kill()
    worker.wait()
    assert 1.9 < events_of(run, "heartbeat")[0]["t"] < 4


def test_settings_that_cannot_be_trained_create_no_run(tmp_path: Path) -> None:
    for given in ({"data": str(tmp_path / "none.txt")}, {"mode": "scalar", "model_kind": "gpt"}):
        with pytest.raises(UserError):
            create_run(given, tmp_path)
    with pytest.raises(SettingsError):
        create_run({"steps": -1}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_halts_the_run_and_its_ending_is_in_worker_log(tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, unlimited[1]))  # no file of the worker may grow past this
    worker = launch(run)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert worker.wait() == 3
    assert "events.jsonl cannot be written" in run.log_path.read_text()
    assert liveness.derive_state(run, read_history(run)) == "halted"
