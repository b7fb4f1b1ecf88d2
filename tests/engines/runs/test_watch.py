"""Watched runs: the state of a worker is known after the next refresh."""

import os
import signal
import time
from pathlib import Path

import pytest
from builders import make_run
from patience import PATIENCE

from engines.exit_codes import UNEXPECTED_EXIT
from engines.runs.board import WatchedRuns
from engines.runs.launch import launch
from nanochat_tui.cli import main
from nanochat_tui.headless import follow
from screens.app import REFRESH_INTERVAL
from screens.train.live import POLL_INTERVAL


def wait_for(board: WatchedRuns, state: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while [watch.state for watch in board.refresh()] != [state]:
        assert time.monotonic() < deadline, "it never came"


def test_a_killed_worker_appears_at_the_next_refresh_within_two_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, steps=1_000_000, eval_every=0)
    board = WatchedRuns(tmp_path / "results")
    worker = launch(run)
    wait_for(board, "running")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert [watch.state for watch in board.refresh()] == ["killed"]
    assert main(["--no-ui", "attach", str(run.path)]) == UNEXPECTED_EXIT
    assert f"run {run.id} killed" in capsys.readouterr().err
    assert max(REFRESH_INTERVAL, POLL_INTERVAL, follow.POLL_INTERVAL) < 2
