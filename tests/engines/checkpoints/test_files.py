"""Checkpoints: intact or refused, readable by others, pruned, and written during training."""

import os
import shutil
from pathlib import Path

import numpy
import pytest
from builders import checkpoint, numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from engines.checkpoints import files, safetensors
from engines.checkpoints.files import Checkpoint, load_checkpoint, load_newest_checkpoint, write_checkpoint
from engines.checkpoints.folders import delete_unfinished, get_checkpoint_path, list_steps
from engines.checkpoints.retention import prune_checkpoints
from engines.checkpoints.saver import CheckpointSaver, SavedCheckpoint
from engines.errors import UserError


@settings(deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=9), st.lists(st.floats(), min_size=1, max_size=20), max_size=5).filter(
        lambda arrays: "__metadata__" not in arrays
    )
)
def test_files_are_exchanged_with_the_safetensors_library(arrays: dict[str, list[float]]) -> None:
    ours = b"".join(safetensors.dump({name: numbers(*values) for name, values in arrays.items()}))
    plain = {name: numpy.array(values) for name, values in arrays.items()}
    path = Path(os.environ["HOME"]) / "w.safetensors"
    path.write_bytes(ours)
    for name, read in load_file(path).items():
        assert read.tobytes() == plain[name].tobytes()
    for name, stored in safetensors.parse(save(plain), "w").items():
        assert bytes(stored.data) == plain[name].tobytes() and stored.dtype == "F64"


def test_a_loaded_checkpoint_equals_the_written_one(tmp_path: Path) -> None:
    size = write_checkpoint(tmp_path, 7, checkpoint(7))
    again = load_checkpoint(get_checkpoint_path(tmp_path, 7))
    assert again.progress == {"step": 7} and again.learner.counters == {"updates": 7}
    assert bytes(again.learner.model["w"].data) == checkpoint().learner.model["w"].data
    assert size == sum(file.stat().st_size for file in get_checkpoint_path(tmp_path, 7).iterdir())
    assert load_checkpoint(get_checkpoint_path(tmp_path, 7), with_optimizer=False).learner.optimizer == {}


FILES = ("model.safetensors", "optimizer.safetensors", "tokenizer.json")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing"])
def test_any_damage_is_refused_and_the_file_is_named(file: str, harm: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, checkpoint())
    path = get_checkpoint_path(tmp_path, 1) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    {
        "flipped": lambda: path.write_bytes(content),
        "truncated": lambda: path.write_bytes(content[:-1]),
        "missing": path.unlink,
    }[harm]()
    with pytest.raises(UserError, match=file):
        load_checkpoint(path.parent)


def test_the_newest_intact_checkpoint_is_used_and_damaged_ones_are_reported(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step, checkpoint(step))
    (get_checkpoint_path(tmp_path, 3) / "state.json").write_text("{")
    found, complaints = load_newest_checkpoint(tmp_path)
    assert found and found.progress["step"] == 2 and len(complaints) == 1 and "step-00000003" in complaints[0]


def test_unfinished_files_of_a_killed_writer_are_ignored_and_deleted(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, checkpoint())
    (tmp_path / ".writing-step-00000002").mkdir()
    assert list_steps(tmp_path) == [1]
    delete_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize(
    ("keep_last", "best", "kept"),
    [(2, 1, [1, 4, 5]), (1, None, [5]), (0, None, [1, 2, 3, 4, 5]), (9, 2, [1, 2, 3, 4, 5])],
)
def test_the_last_checkpoints_and_the_best_one_are_kept(
    keep_last: int, best: int | None, kept: list[int], tmp_path: Path
) -> None:
    for step in range(1, 6):
        write_checkpoint(tmp_path, step, checkpoint(step))
    removed, problem = prune_checkpoints(tmp_path, keep_last, best)
    assert list_steps(tmp_path) == kept and sorted(kept + removed) == [1, 2, 3, 4, 5] and not problem


def test_a_failure_to_save_is_raised_by_wait(tmp_path: Path) -> None:
    saver = CheckpointSaver(tmp_path / "missing", 1, lambda saved: None)
    saver.save(1, checkpoint(), None)
    with pytest.raises(UserError, match="no checkpoint could be written"):
        saver.wait()


def test_saving_reports_when_it_is_durable(tmp_path: Path) -> None:
    seen: list[int] = []
    saver = CheckpointSaver(tmp_path, 1, lambda saved: seen.append(saved.step) if saved.path.exists() else None)
    saver.save(1, checkpoint(1), None)
    saver.save(2, checkpoint(2), None)
    saver.wait()
    assert seen == [1, 2] and list_steps(tmp_path) == [2]


@pytest.mark.parametrize("file", [*FILES, "state.json"])
def test_every_changed_byte_is_detected(file: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, checkpoint())
    path = get_checkpoint_path(tmp_path, 1) / file
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        for flipped in (1, 32):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flipped]) + whole[place + 1 :])
            with pytest.raises(UserError, match=file):
                load_checkpoint(path.parent)
    path.write_bytes(whole)
    assert load_checkpoint(path.parent).progress == {"step": 1}


@settings(deadline=None, max_examples=50)
@given(prompt=st.text() | st.just('"seal": "' + "0" * 64 + '"'), position=st.integers(0, 1 << 62), lr=st.floats(0, 1))
def test_any_settings_and_progress_are_read_back(prompt: str, position: int, lr: float) -> None:
    folder = Path(os.environ["HOME"])
    learner, tokenizer, *_ = checkpoint()
    kept = {"prompt": prompt, "lr": lr, "val_data": None}
    write_checkpoint(folder, 1, Checkpoint(learner, tokenizer, kept, {"position": position}))
    again = load_checkpoint(get_checkpoint_path(folder, 1))
    assert again.settings == kept and again.progress == {"position": position}


def test_a_step_reached_again_replaces_its_checkpoint_atomically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []
    really_delete = shutil.rmtree
    monkeypatch.setattr(
        files.shutil, "rmtree", lambda path, **how: (deleted.append(path.name), really_delete(path, **how))
    )
    for updates in (1, 2):
        write_checkpoint(tmp_path, 7, checkpoint(updates))
    assert load_checkpoint(get_checkpoint_path(tmp_path, 7)).learner.counters == {"updates": 2}
    write_checkpoint(tmp_path, 8, checkpoint(8))
    prune_checkpoints(tmp_path, 1, None)
    assert deleted and not any(name.startswith("step-") for name in deleted)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000008"]


def test_an_interrupted_first_checkpoint_is_not_used(tmp_path: Path) -> None:
    assert list_steps(tmp_path / "none") == [] and load_newest_checkpoint(tmp_path) == (None, [])


def test_a_later_schema_is_distinguished_from_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SCHEMA", 2)
    write_checkpoint(tmp_path, 1, checkpoint())
    monkeypatch.undo()
    with pytest.raises(UserError, match="schema is 2, and this version reads 1"):
        load_checkpoint(get_checkpoint_path(tmp_path, 1))


def test_a_failure_after_the_write_is_raised_unchanged(tmp_path: Path) -> None:
    def fail(saved: SavedCheckpoint) -> None:
        raise RuntimeError("no listener")

    saver = CheckpointSaver(tmp_path, 1, fail)
    saver.save(1, checkpoint(), None)
    with pytest.raises(RuntimeError, match="no listener"):
        saver.save(2, checkpoint(2), None)
    assert list_steps(tmp_path) == [1]
