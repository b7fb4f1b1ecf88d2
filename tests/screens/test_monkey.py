"""Random keys, bursts, clicks and sizes crash nothing; with --readonly they change nothing either."""

import os
from pathlib import Path

import pytest
from monkey import make_lab, random_keys

KEYS = int(os.environ.get("NANOCHAT_TUI_RANDOM_KEYS", "120"))


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"}


def test_random_keys_crash_nothing(tmp_path: Path) -> None:
    assert random_keys(tmp_path, seed=KEYS, count=KEYS).pressed >= KEYS


def test_random_keys_change_nothing_with_readonly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = make_lab(tmp_path)
    before = tree(results)
    monkeypatch.setattr("monkey.make_lab", lambda _: results)
    started: list[object] = []
    monkeypatch.setattr("screens.shared.run_actions.launch", started.append)
    monkeypatch.setattr("screens.ablate.actions.start_queue", started.append)
    random_keys(tmp_path, seed=KEYS + 1, count=KEYS, readonly=True)
    assert tree(results) == before and started == []
