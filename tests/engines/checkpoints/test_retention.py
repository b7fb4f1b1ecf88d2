"""Pruning: damaged checkpoints do not count as kept, and a failed deletion is a warning."""

import errno
import shutil
from pathlib import Path

import pytest
from builders import checkpoint, flip_a_bit, make_run
from hypothesis import given
from hypothesis import strategies as st

from engines.checkpoints import files, retention
from engines.checkpoints.files import FILES, copy_checkpoint, find_newest_intact, write_checkpoint
from engines.checkpoints.folders import get_checkpoint_path, list_steps
from engines.checkpoints.retention import IntactSteps, prune_checkpoints
from engines.checkpoints.saver import CheckpointSaver, SavedCheckpoint
from engines.errors import UserError
from engines.runs import launch
from engines.runs.history import read_history
from engines.training.fork import fork_run


def write_steps(folder: Path, *steps: int) -> None:
    for step in steps:
        write_checkpoint(folder, step, checkpoint(step))


def damage(folder: Path, step: int, file: str = "model.safetensors") -> None:
    flip_a_bit(get_checkpoint_path(folder, step) / file)


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.integers(1, 3), st.sampled_from([None, 1, 2]))
def test_pruning_keeps_as_many_intact_checkpoints_as_it_can(
    intact: list[bool], keep_last: int, best: int | None
) -> None:
    steps = range(1, len(intact) + 1)
    kept = retention._steps_to_keep(list(steps), keep_last, best, {step for step in steps if intact[step - 1]})
    assert sum(intact[step - 1] for step in kept) >= min(keep_last, sum(intact))
    newest = [step for step in steps if intact[step - 1]][-keep_last:]
    assert set(newest) <= set(kept)


@pytest.mark.parametrize("file", [*FILES, "state.json"])
def test_the_last_intact_checkpoint_is_never_deleted(file: str, tmp_path: Path) -> None:
    write_steps(tmp_path, 1, 2, 3, 4)
    for damaged in (2, 3, 4):
        damage(tmp_path, damaged, file)
    prune_checkpoints(tmp_path, keep_last=2, best_step=None)
    assert find_newest_intact(tmp_path)[0] == 1
    write_steps(tmp_path, 5)
    prune_checkpoints(tmp_path, keep_last=1, best_step=None)
    assert list_steps(tmp_path) == [5]


def test_a_checkpoint_is_hashed_once_until_one_of_its_files_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_steps(tmp_path, 1, 2)
    verified: list[str] = []
    really_verify = retention.verify_checkpoint
    monkeypatch.setattr(
        retention, "verify_checkpoint", lambda path: (verified.append(path.name), really_verify(path))[1]
    )
    intact = IntactSteps(tmp_path)
    intact.add(2)
    assert all(step in intact for step in (1, 2, 1, 2)) and verified == ["step-00000001"]
    damage(tmp_path, 2)
    assert 2 not in intact and 2 not in intact and verified == ["step-00000001", "step-00000002"]
    assert "step-00000002" in intact.complaints[0]


def test_a_failed_prune_is_a_warning_and_the_checkpoint_counts_as_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, **how: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    saved: list[SavedCheckpoint] = []
    saver = CheckpointSaver(tmp_path, 1, saved.append)
    saver.save(1, checkpoint(1), None)
    saver.wait()
    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", lambda path, **how: None if how else fail(path))
        saver.save(2, checkpoint(2), None)
        saver.wait()
    assert saved[0].warning == "" and "cannot be deleted: Permission denied" in saved[1].warning
    saver.save(3, checkpoint(3), None)
    saver.wait()
    assert list_steps(tmp_path) == [3] and saved[2].warning == ""


def test_a_damaged_checkpoint_found_by_pruning_is_reported(tmp_path: Path) -> None:
    saved: list[SavedCheckpoint] = []
    write_steps(tmp_path, 1, 2)
    damage(tmp_path, 2)
    saver = CheckpointSaver(tmp_path, 2, saved.append)
    saver.save(3, checkpoint(3), None)
    saver.wait()
    assert list_steps(tmp_path) == [1, 2, 3] and "step-00000002" in saved[0].warning


def test_a_fork_begins_with_the_newest_intact_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path, checkpoint_every=5, keep_last=3)
    assert launch.launch(run).wait() == 0
    steps = list_steps(run.checkpoints_dir)
    damage(run.checkpoints_dir, steps[-1])
    fork = fork_run(run, {"steps": 30})
    assert fork.config["parent"]["step"] == steps[-2]
    assert list_steps(fork.checkpoints_dir) == [steps[-2]]
    assert launch.launch(fork).wait() == 0
    history = read_history(fork)
    assert history.step == 30
    assert any(f"step-{steps[-1]:08d}" in note["message"] for note in history.notes)
    for step in steps[:-1]:
        damage(run.checkpoints_dir, step)
    with pytest.raises(UserError, match="no intact checkpoint in"):
        fork_run(run, {"steps": 30})
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 2


def test_a_copy_that_is_not_intact_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_steps(tmp_path, 1)
    really_copy = shutil.copytree

    def copy_badly(source: Path, target: Path) -> None:
        really_copy(source, target)
        (target / "model.safetensors").write_bytes(b"")

    monkeypatch.setattr(files.shutil, "copytree", copy_badly)
    with pytest.raises(UserError, match="damaged"):
        copy_checkpoint(tmp_path, 1, tmp_path / "other")
    assert list_steps(tmp_path / "other") == []
