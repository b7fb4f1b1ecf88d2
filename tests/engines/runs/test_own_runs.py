"""Commands that change runs: they act in their own results directory, and delete only runs."""

import os
import shutil
from pathlib import Path

import pytest
from builders import finished_run, make_run

from engines.checkpoints.folders import list_steps
from engines.errors import UserError
from engines.runs.locking import acquire_lock
from engines.runs.lookup import add_used_results_dir, find_run
from engines.runs.own_runs import delete_run, find_own_run, require_run
from engines.runs.store import Run


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["", " ", "last", "known"])
def test_a_run_of_another_results_directory_is_never_found(name: str, tmp_path: Path) -> None:
    known = make_run(tmp_path)
    add_used_results_dir(known.results)
    name = known.id if name == "known" else name
    assert find_run(known.id, tmp_path / "empty") == known, "the other directory is not remembered"
    with pytest.raises(UserError, match=f"--results-dir {known.results}" if name == "known" else "empty|no runs"):
        find_own_run(name, tmp_path / "empty")


def test_own_runs_are_found_by_name_prefix_path_and_last(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name in (run.id, run.id[:-1], "last", str(run.path), f"{run.path}/"):
        assert find_own_run(name, run.results) == run
    assert find_own_run(run.id, run.results, exact=True) == run
    with pytest.raises(UserError, match=f"did you mean {run.id}"):
        find_own_run(run.id[:-1], run.results, exact=True)


def test_a_run_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    run, other = make_run(tmp_path), make_run(tmp_path)
    before = [name for name in everything_in(tmp_path) if run.id not in name]
    assert delete_run(run) == f"deleted run {run.id}"
    assert everything_in(tmp_path) == before and other.config
    assert delete_run(run) == f"run {run.id} was deleted already"


def test_deleting_a_run_never_follows_its_checkpoint_dir(tmp_path: Path) -> None:
    run = finished_run(tmp_path, checkpoint_dir=str(tmp_path / "kept"))
    folder = run.checkpoints_dir
    assert folder == tmp_path / "kept" / run.id
    assert delete_run(run) == f"deleted run {run.id}; its checkpoints remain in {folder}"
    assert not run.path.exists() and list_steps(folder)[-1] == 20


def test_only_the_link_of_a_linked_run_is_deleted(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    link = Run(tmp_path / "others" / "runs" / "link")
    link.path.parent.mkdir(parents=True)
    link.path.symlink_to(run.path)
    assert "the run remains in" in delete_run(find_own_run("link", tmp_path / "others"))
    assert not link.path.is_symlink() and run.config


def test_a_link_inside_a_run_is_not_followed(tmp_path: Path) -> None:
    run, kept = make_run(tmp_path), tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (run.path / "checkpoints").symlink_to(kept)
    delete_run(run)
    assert (kept / "file").exists() and not run.path.exists()


@pytest.mark.parametrize("names", [["events.jsonl"], ["config.json", "events.jsonl", "thesis.tex"], ["thesis.tex"]])
@pytest.mark.parametrize("place", ["results/runs/mine", "mine"])
def test_a_folder_that_is_not_a_run_is_never_deleted(names: list[str], place: str, tmp_path: Path) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("{}")
    before = everything_in(tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        delete_run(Run(folder))
    with pytest.raises(UserError, match="is not a run"):
        require_run(find_own_run(str(folder) if place == "mine" else "mine", tmp_path / "results", exact=True))
    assert everything_in(tmp_path) == before


def test_a_manifest_alone_does_not_make_a_folder_a_run(tmp_path: Path) -> None:
    """The config.json of a run was copied into a project folder, to train again with --config."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").touch()
    shutil.copy(make_run(tmp_path).config_path, project)
    with pytest.raises(UserError, match="is not a run"):
        delete_run(Run(project))


@pytest.mark.parametrize("damage", ["broken", "gone", "never written"])
def test_a_damaged_run_is_deleted_from_its_results_directory(damage: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    if damage == "broken":
        run.config_path.write_text("{")
    else:
        run.config_path.unlink()
    if damage == "never written":
        shutil.rmtree(run.control_dir)
        run.events_path.unlink()
    delete_run(find_own_run(run.id, run.results, exact=True))
    assert not run.path.exists()


def test_a_run_that_another_process_deleted_is_reported_in_one_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    shutil.rmtree(run.path)
    with pytest.raises(UserError, match=rf"run {run.id} cannot be deleted: .*: not found\.$"):
        require_run(run)


def test_a_running_run_is_not_deleted(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    lock = acquire_lock(run)
    try:
        with pytest.raises(UserError, match="is already running"):
            delete_run(run)
    finally:
        os.close(lock)
    assert run.config


def test_a_directory_that_cannot_be_deleted_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "worker.log"))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(UserError, match=rf"run {run.id} cannot be deleted: .*worker\.log: Permission denied\.$"):
        delete_run(run)
