"""The derived state of a run: every recorded ending, and every state of a running worker."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from engines.runs import liveness
from engines.runs.history import History, read_history
from engines.runs.store import Run

FIXTURES = Path(__file__).parents[2] / "fixtures" / "runs"
ENDED = {
    "finished": "finished",
    "finished-stories": "finished",
    "stopped": "stopped",
    "interrupted": "stopped",
    "terminated": "stopped",
    "killed": "killed",
    "killed-in-a-line": "killed",
    "resumed": "finished",
    "paused-then-killed": "killed",
    "halted-nonfinite": "halted",
    "nonfinite-warned": "finished",
    "rolled-back": "halted",
    "halted-spike": "halted",
    "spikes-warned": "finished",
    "failed": "crashed",
    "crashed": "crashed",
    "crashed-segfault": "crashed",
}


def test_every_recorded_ending_has_its_state() -> None:
    found = {path.name: liveness.derive_state(Run(path), read_history(Run(path))) for path in FIXTURES.iterdir()}
    assert found == ENDED


def live_run(folder: Path) -> tuple[Run, int]:
    """A directory whose lock is held, as by a worker."""
    folder.mkdir(exist_ok=True)
    run = Run(folder)
    run.events_path.touch()
    lock = os.open(run.lock_path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return run, lock


def history(*events: dict[str, object]) -> History:
    result = History()
    result.apply({"t": 0.0, **event} for event in events)
    return result


TRAIN = {"kind": "phase", "phase": "train", "done": None, "total": None}
PAUSE = {"kind": "control", "request": "1-pause.json", "verb": "pause", "outcome": "done"}
RESUME = {"kind": "control", "request": "2-resume.json", "verb": "resume", "outcome": "done"}


@pytest.mark.parametrize(
    ("events", "state"),
    [((), "starting"), ((TRAIN,), "running"), ((TRAIN, PAUSE), "paused"), ((TRAIN, PAUSE, RESUME), "running")],
)
def test_a_held_lock_means_that_the_worker_is_running(
    events: tuple[dict[str, object], ...], state: str, tmp_path: Path
) -> None:
    run, lock = live_run(tmp_path)
    assert liveness.derive_state(run, history(*events)) == state
    os.close(lock)
    assert liveness.derive_state(run, history(*events)) == "killed"


def test_a_running_run_without_a_heartbeat_for_ten_seconds_is_stuck(tmp_path: Path) -> None:
    run, lock = live_run(tmp_path)
    long_ago = time.time() - liveness.STUCK_AFTER - 1
    os.utime(run.events_path, (long_ago, long_ago))
    assert liveness.derive_state(run, history(TRAIN)) == "stuck"
    os.close(lock)


def test_probing_leaves_the_lock_free(tmp_path: Path) -> None:
    run, lock = live_run(tmp_path)
    os.close(lock)
    assert not liveness.is_lock_held(run.lock_path)
    again = os.open(run.lock_path, os.O_RDWR)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)


def test_a_crash_of_an_earlier_start_does_not_affect_the_state_of_a_killed_run(tmp_path: Path) -> None:
    run, lock = live_run(tmp_path)
    os.close(lock)
    mark = liveness.START_MARK
    run.log_path.write_text(f"{mark}\nFatal Python error: Segmentation fault\n{mark}\n")
    assert liveness.derive_state(run, history(TRAIN)) == "killed"
