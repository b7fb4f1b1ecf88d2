"""Run directories: unique names, found by id, prefix or path, deleted without side effects."""

import os
import threading
from pathlib import Path

import pytest
from builders import make_run

from engines.errors import UserError
from engines.runs import creation, lookup
from engines.runs.creation import create_run_directory
from engines.runs.lookup import add_used_results_dir, find_run, list_runs, list_runs_in_view
from engines.runs.store import Run


def empty_run(results: Path) -> Run:
    resolved = {"mode": "scalar", "model_kind": "bigram", "data": "names", "steps": 20}
    return create_run_directory(results, None, {"given": {}, "resolved": resolved})


def test_runs_are_found_by_id_prefix_and_last(tmp_path: Path) -> None:
    runs = [empty_run(tmp_path) for _ in range(3)]
    assert find_run(runs[1].id, tmp_path).path == runs[1].path
    assert find_run("last", tmp_path).path == runs[2].path
    assert find_run(str(runs[0].path), tmp_path / "elsewhere").path == runs[0].path
    assert [run.id for run in list_runs(tmp_path)] == [run.id for run in runs]


def test_an_ambiguous_prefix_names_the_candidates(tmp_path: Path) -> None:
    for name in ("calm-owl", "calm-fox"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(UserError, match="calm-fox, calm-owl"):
        find_run("calm", tmp_path)
    assert find_run("calm-f", tmp_path).id == "calm-fox"


def test_an_id_that_is_a_prefix_of_another_is_found(tmp_path: Path) -> None:
    for name in ("calm-owl", "calm-owl-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert find_run("calm-owl", tmp_path).id == "calm-owl"


def test_runs_are_found_from_other_directories_after_their_first_start(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "there")
    add_used_results_dir(tmp_path / "there")
    assert find_run(run.id, tmp_path / "here").path == run.path
    assert find_run("last", tmp_path / "here").path == run.path


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_an_empty_name_is_an_error_and_not_a_prefix_of_every_name(name: str, tmp_path: Path) -> None:
    empty_run(tmp_path)
    with pytest.raises(UserError, match="name of a run is empty"):
        find_run(name, tmp_path)


def test_a_folder_with_nothing_but_a_log_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.jsonl").touch()
    with pytest.raises(UserError, match=r"is not a run: config\.json not found in it"):
        find_run(f"{tmp_path}/logs", tmp_path)
    with pytest.raises(UserError, match="not found"):
        find_run(f"{tmp_path}/nothing", tmp_path)


def test_a_missing_run_is_reported_with_advice(tmp_path: Path) -> None:
    empty_run(tmp_path)
    with pytest.raises(UserError, match="List the runs with: nanochat-tui --no-ui runs"):
        find_run("zzz", tmp_path)


def test_a_results_directory_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("runs")  # a ring: root may read everything else
    with pytest.raises(UserError, match=r"runs cannot be read: .*. Choose another directory with --results-dir"):
        list_runs_in_view(tmp_path)


def test_a_hundred_runs_created_at_once_have_a_hundred_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creation.os, "urandom", lambda size: bytes(size))  # always the same draw
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(empty_run(tmp_path).id for _ in range(25))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 100


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000, b'{"v":1}', b"9" * 5000])
def test_a_damaged_manifest_is_reported_and_does_not_hide_other_runs(tmp_path: Path, content: bytes) -> None:
    run, other = make_run(tmp_path), make_run(tmp_path)
    run.config_path.write_bytes(content)
    with pytest.raises(UserError, match=f"damaged .* nanochat-tui --no-ui rm {run.id}"):
        _ = run.config
    assert {found.id for found in list_runs(tmp_path / "results")} == {run.id, other.id}


@pytest.mark.parametrize(
    "damage",
    [
        {"checkpoints": 0},
        {"created_at": "1"},
        {"created_at": 10**400},
        {"given": ["steps"]},
        {"resolved": 3},
        {"resolved": {"mode": "scalar"}},
        {"facts": {"parameters": "many"}},
        {"parent": 3},
    ],
)
def test_a_manifest_with_a_value_of_another_type_is_damaged(tmp_path: Path, damage: dict[str, object]) -> None:
    run = make_run(tmp_path)
    run.write_config(run.config | damage)
    with pytest.raises(UserError, match="damaged"):
        _ = run.config


def test_a_path_that_is_not_utf8_is_read_back_from_manifest_and_list_of_directories(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    run = make_run(folder)
    assert run.config["resolved"]["data"] == str(folder / "text.txt")
    add_used_results_dir(folder / "results")
    assert find_run(run.id, tmp_path / "here").path == run.path


def test_garbage_in_the_list_of_directories_hides_nothing(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "there")
    add_used_results_dir(tmp_path / "elsewhere")
    lookup._get_record_path().write_bytes(b"\xff\xfe\n/a\0b\n\n")
    add_used_results_dir(tmp_path / "there")
    assert find_run(run.id, tmp_path / "here").path == run.path
