"""Random keys, bursts, clicks and sizes crash nothing; with --readonly they change nothing either."""

import os
from pathlib import Path

import pytest
from monkey import make_results, press_in_dashboard

KEYS = int(os.environ.get("NANOCHAT_TUI_RANDOM_KEYS", "120"))


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"}


async def test_random_keys_crash_nothing(tmp_path: Path) -> None:
    monkey = await press_in_dashboard(make_results(tmp_path), seed=KEYS, count=KEYS)
    assert monkey.pressed >= KEYS


async def test_random_keys_change_nothing_with_readonly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = make_results(tmp_path)
    before = read_files(results)
    started: list[object] = []
    monkeypatch.setattr("screens.shared.run_actions.launch", started.append)
    monkeypatch.setattr("screens.ablate.actions.start_queue", started.append)
    await press_in_dashboard(results, seed=KEYS + 1, count=KEYS, readonly=True)
    assert read_files(results) == before and started == []
