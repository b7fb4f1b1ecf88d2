"""Portable paths in reports and exports."""

from pathlib import Path

import pytest

from engines.ablation.cells import Cell
from engines.runs.portable import PortablePaths, find_corpora

SHA256 = "0123456789abcdef" * 4


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PortablePaths:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", "/home/ann")
    return PortablePaths(
        Path("/data/results"), {"/far/my text.txt": SHA256, "/alone": None, "/home/ann/own.txt": SHA256}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/results/runs/a-b/checkpoints", "./results/runs/a-b/checkpoints"),
        ("/data/results", "./results"),
        ("/data/results-2/x", "x"),
        ("data=/home/ann/own.txt", "data=~/own.txt"),
        ("--data '/far/my text.txt' --lr 1", "--data 'my text.txt (sha256 0123456789ab)' --lr 1"),
        ("/alone", "alone"),
        ("/elsewhere/lib/python3/x.py, line 3", "x.py, line 3"),
        ("1.2 tokens/s, and/or a / b, /alone-ish", "1.2 tokens/s, and/or a / b, /alone-ish"),
        ("./data/results/a and ../data/results/a", "./data/results/a and ../data/results/a"),
        ("https://example.org/data/results/x", "https://example.org/data/results/x"),
    ],
)
def test_a_path_is_written_in_a_portable_way(text: str, expected: str, others: PortablePaths) -> None:
    assert others.text(text) == expected


def test_below_the_working_directory_it_is_relative(others: PortablePaths) -> None:
    assert others.text(f"{Path.cwd()}/a b/c.txt in {Path.cwd()}") == "./a b/c.txt in ."


def test_the_root_as_working_directory_makes_nothing_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert PortablePaths(Path("/data/results"), {"/far/a.txt": None}).text("/far/a.txt /x/y/z") == "a.txt z"


def test_all_texts_in_a_value_are_replaced_and_nothing_else(others: PortablePaths) -> None:
    path = "/far/away/a.txt"
    value = {"/far/away/key": [path, 1, None], "cell": Cell(path, {"data": path}), "pair": (path, 2.5)}
    assert others.inside(value) == {
        "/far/away/key": ["a.txt", 1, None], "cell": Cell("a.txt", {"data": "a.txt"}), "pair": ("a.txt", 2.5),
    }  # fmt: skip


def test_a_manifest_gives_the_sha256_of_the_texts_that_it_names() -> None:
    given = {"data": "a.txt", "val_data": "/b.txt", "checkpoint_dir": "/kept", "lr": 0.1}
    resolved = {**given, "data": "/lab/a.txt", "model_kind": "gpt"}
    config = {"given": given, "resolved": resolved, "facts": {"sha256": "aa", "val_sha256": "bb"}}
    assert find_corpora(config) == {"a.txt": "aa", "/lab/a.txt": "aa", "/b.txt": "bb", "/kept": None}
    assert find_corpora({"given": {"data": "names"}, "resolved": 3}) == {}
