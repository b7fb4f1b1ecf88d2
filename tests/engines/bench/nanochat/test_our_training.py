"""The figures of our run: steps, curve over training time, and end of the first step."""

from itertools import accumulate
from pathlib import Path

import pytest
from builders import events_of, finished_run, make_run

from engines.bench.nanochat import our_training
from engines.errors import UserError


def test_the_figures_of_a_run_agree_with_its_log(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    created = run.config["created_at"]
    training = our_training.read_training(tmp_path / "results", created - 1.0)
    seconds = [each for event in events_of(run, "steps") for each in event["seconds"]]
    evals = events_of(run, "eval")
    assert training["steps"] == len(training["losses"]) == 20
    assert training["rows"] == run.config["resolved"]["batch_size"] == 2
    assert training["training_seconds"] == pytest.approx(sum(seconds))
    assert [bpb for _, bpb in training["curve"]] == [event["bpb"] for event in evals]
    elapsed = [0.0, *accumulate(seconds)]
    assert [at for at, _ in training["curve"]] == pytest.approx([elapsed[event["step"]] for event in evals])
    assert training["first_step_seconds"] == pytest.approx(1.0 + evals[0]["t"] + seconds[0], abs=0.01)


def test_a_results_directory_must_have_exactly_one_run(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_run(tmp_path)
    with pytest.raises(UserError, match="2 runs instead of one"):
        our_training.find_only_run(tmp_path / "results")
    our_training.clear_folder(tmp_path / "results")
    with pytest.raises(UserError, match="0 runs"):
        our_training.find_only_run(tmp_path / "results")


def test_a_run_without_steps_or_checkpoints_is_an_error(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(UserError, match="fewer than 3"):
        our_training.read_training(tmp_path / "results", 0.0)
    with pytest.raises(UserError, match="no checkpoint"):
        our_training.find_last_checkpoint(tmp_path / "results")
