"""The lock: one worker per run directory, whatever the launcher's standard streams are and however many launch."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from builders import make_run
from patience import PATIENCE

from engines.ablation import queue
from engines.ablation.study import Study
from engines.errors import UserError
from engines.runs import liveness
from engines.runs.launch import launch
from engines.runs.locking import acquire_lock, require_lock
from engines.runs.store import Run
from engines.system.subprocesses import python_path

LONG = {"steps": 10_000_000, "eval_every": 1_000_000}
CLOSED = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-", "all": "<&- >&- 2>&-"}
# A launcher as the command line or the dashboard is one: it starts the worker and exits. Its output goes to a file.
LAUNCHER = """
import sys
from pathlib import Path
from engines.errors import UserError
from engines.runs.launch import launch
from engines.runs.store import Run
try:
    print(launch(Run(Path(sys.argv[1]))).pid, file=open(sys.argv[2], "w"))
except UserError as error:
    print(error, file=open(sys.argv[2], "w"))
"""


def launch_with_closed(streams: str, run: Run, answer: Path) -> str:
    words = [sys.executable, "-c", LAUNCHER, str(run.path), str(answer)]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    subprocess.run(["sh", "-c", f'"$@" {streams}', "sh", *words], env=environment, timeout=PATIENCE, check=False)
    return answer.read_text().strip()


def wait_for_first_event(run: Run) -> None:
    deadline = time.monotonic() + PATIENCE
    while not run.events_path.stat().st_size:
        assert time.monotonic() < deadline, run.log_path.read_text()
        time.sleep(0.005)


@pytest.mark.parametrize("streams", CLOSED.values(), ids=CLOSED.keys())
def test_a_launcher_with_closed_standard_streams_starts_a_worker_that_holds_the_lock(
    streams: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path, **LONG)
    pid = int(launch_with_closed(streams, run, tmp_path / "first"))
    try:
        wait_for_first_event(run)  # from here on only the worker itself can hold the lock
        assert liveness.is_lock_held(run.lock_path)
        assert "is already running" in launch_with_closed(streams, run, tmp_path / "second")
    finally:
        os.kill(pid, signal.SIGKILL)


def test_the_lock_never_gets_the_descriptor_of_a_standard_stream(tmp_path: Path) -> None:
    fd = acquire_lock(make_run(tmp_path))
    try:
        assert fd > 2 and not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_exactly_one_of_many_launchers_starts_a_worker(tmp_path: Path) -> None:
    run = make_run(tmp_path, **LONG)
    workers, refusals = [], []

    def try_to_launch() -> None:
        try:
            workers.append(launch(run))
        except UserError as error:
            refusals.append(str(error))

    launchers = [threading.Thread(target=try_to_launch) for _ in range(8)]
    for launcher in launchers:
        launcher.start()
    for launcher in launchers:
        launcher.join(PATIENCE)
    for worker in workers:
        worker.kill()
        worker.wait()
    assert len(workers) == 1 and len(refusals) == 7
    assert all("is already running" in refusal for refusal in refusals)


@pytest.mark.parametrize("module", ["engines.training.worker", "engines.ablation.queue"])
def test_a_worker_or_queue_without_the_lock_refuses_to_start(module: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    worker = subprocess.run(
        [sys.executable, "-m", module, str(run.path), "--lock=77", "--since=0"],
        env={**os.environ, "PYTHONPATH": python_path()}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert worker.returncode == 1 and run.events_path.read_bytes() == b""
    assert "did not receive the lock" in worker.stderr and "Traceback" not in worker.stderr


def test_only_a_descriptor_that_holds_this_runs_lock_is_accepted(tmp_path: Path) -> None:
    run, other = make_run(tmp_path), make_run(tmp_path)
    lock, foreign = acquire_lock(run), acquire_lock(other)
    unlocked = os.open(run.lock_path, os.O_RDWR)  # the right file, locked by another open file
    try:
        for argument in (f"--lock={foreign}", f"--lock={unlocked}", "--lock=-1", "--lock=²", "--lock=99999999999", ""):
            with pytest.raises(UserError, match="did not receive the lock"):
                require_lock(run, argument)
        os.set_inheritable(lock, True)
        assert require_lock(run, f"--lock={lock}") == lock and not os.get_inheritable(lock)
        run.lock_path.unlink()  # a directory that was deleted and made again has another lock
        run.lock_path.touch()
        with pytest.raises(UserError):
            require_lock(run, f"--lock={lock}")
    finally:
        for fd in (lock, foreign, unlocked):
            os.close(fd)


def test_a_queue_without_its_lock_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(tmp_path)
    assert queue.main([str(study.path), "--lock=0", "--since=0"]) == 1
    assert "did not receive the lock" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_opened_is_reported_in_one_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.lock_path.mkdir()
    with pytest.raises(UserError, match="cannot be opened"):
        launch(run)
    assert not liveness.is_lock_held(run.lock_path)
