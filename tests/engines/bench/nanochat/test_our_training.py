"""A run of ours becomes figures: its steps, its curve over training seconds, when its first step was over."""

from itertools import accumulate
from pathlib import Path

import pytest
from builders import events_of, finished_run, make_run

from engines.bench.nanochat import our_training
from engines.errors import UserError


def test_a_run_becomes_figures(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    created = run.config["created_at"]
    told = our_training.read_training(tmp_path / "results", created - 1.0)
    seconds = [each for event in events_of(run, "steps") for each in event["seconds"]]
    evals = events_of(run, "eval")
    assert told["steps"] == len(told["losses"]) == 20
    assert told["rows"] == run.config["resolved"]["batch_size"] == 2
    assert told["training_seconds"] == pytest.approx(sum(seconds))
    assert [bpb for _, bpb in told["curve"]] == [event["bpb"] for event in evals]
    until = [0.0, *accumulate(seconds)]
    assert [at for at, _ in told["curve"]] == pytest.approx([until[event["step"]] for event in evals])
    assert told["first_step_seconds"] == pytest.approx(1.0 + evals[0]["t"] + seconds[0], abs=0.01)


def test_the_only_run_is_meant(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_run(tmp_path)
    with pytest.raises(UserError, match="2 runs where one"):
        our_training.the_run(tmp_path / "results")
    our_training.clear(tmp_path / "results")
    with pytest.raises(UserError, match="0 runs"):
        our_training.the_run(tmp_path / "results")


def test_a_run_without_steps_or_checkpoints_says_so(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(UserError, match="fewer than 3"):
        our_training.read_training(tmp_path / "results", 0.0)
    with pytest.raises(UserError, match="no checkpoint"):
        our_training.last_checkpoint(tmp_path / "results")
