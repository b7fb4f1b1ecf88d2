"""Random keys, clicks and sizes do not crash the dashboard, and change nothing in read-only mode."""

import os
from pathlib import Path

import pytest
from monkey import make_results, press_in_dashboard

KEYS = int(os.environ.get("NANOCHAT_TUI_RANDOM_KEYS", "120"))


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"}


async def test_random_keys_do_not_crash_the_dashboard(tmp_path: Path) -> None:
    monkey = await press_in_dashboard(make_results(tmp_path), seed=KEYS, count=KEYS)
    assert monkey.pressed >= KEYS


async def test_random_keys_change_nothing_in_read_only_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = make_results(tmp_path)
    before = read_files(results)
    started: list[object] = []
    monkeypatch.setattr("screens.shared.run_actions.launch", started.append)
    monkeypatch.setattr("screens.ablate.actions.start_queue", started.append)
    await press_in_dashboard(results, seed=KEYS + 1, count=KEYS, readonly=True)
    assert read_files(results) == before and started == []
