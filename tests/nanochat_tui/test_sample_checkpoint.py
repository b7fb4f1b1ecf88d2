"""`sample --checkpoint best`: the checkpoint of the best evaluation, or one sentence with the available ones."""

import shutil
from pathlib import Path

import pytest
from builders import make_run
from lagging import Rig

from engines.checkpoints.folders import get_checkpoint_path
from engines.errors import UserError
from engines.runs.history import read_history
from engines.runs.store import Run
from nanochat_tui.headless.sample import checkpoint_of


def trained(folder: Path, **given: object) -> Run:
    run = make_run(folder, sample_tokens=0, **given)
    Rig(run, 0).train()
    return run


def test_the_best_checkpoint_exists_even_if_evaluations_and_checkpoints_are_at_different_steps(tmp_path: Path) -> None:
    run = trained(tmp_path, steps=20, eval_every=7, checkpoint_every=10, keep_last=1)
    best = read_history(run).best_eval
    assert best and checkpoint_of(run, "best") == get_checkpoint_path(run.checkpoints_dir, best["step"])
    assert checkpoint_of(run, "best").is_dir()


def test_a_missing_best_checkpoint_is_reported_with_the_available_ones(tmp_path: Path) -> None:
    run = trained(tmp_path, steps=20, eval_every=5)
    shutil.rmtree(checkpoint_of(run, "best"))
    with pytest.raises(UserError, match=r"no checkpoint of its best evaluation, step 20\. Available: last, 10, 15\.$"):
        checkpoint_of(run, "best")
    with pytest.raises(UserError, match=r"no checkpoint '7'\. Available: last, 10, 15\.$"):
        checkpoint_of(run, "7")


def test_the_best_step_of_a_run_that_only_got_worse_is_0_which_has_no_checkpoint(tmp_path: Path) -> None:
    run = trained(tmp_path, steps=20, eval_every=5, lr=100.0)
    with pytest.raises(UserError, match=r"its best evaluation, step 0 \(the untrained model\)\. Available"):
        checkpoint_of(run, "best")


def test_a_run_without_a_finite_evaluation_has_no_best_checkpoint(tmp_path: Path) -> None:
    run = trained(tmp_path, steps=5, eval_every=0)
    lines = run.events_path.read_text().replace('"bpb":', '"bpb":null,"was":')
    run.events_path.write_text(lines)
    with pytest.raises(UserError, match="no evaluation has finite bits per byte"):
        checkpoint_of(run, "best")
