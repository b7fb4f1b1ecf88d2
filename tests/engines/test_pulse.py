"""The pulse: a beat tells how the machine is doing, and its GPUs where a run works on one."""

import sys
from pathlib import Path
from typing import Any

import pytest
from builders import pretend_gpus
from pretend_nvml import Gpu

from engines import pulse
from engines.pulse import Pulse
from engines.runs.log import EventLog
from engines.runs.reader import EventReader


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "HEARTBEAT_INTERVAL", 0.1)


def first_gauges(folder: Path, on_gpu: bool) -> dict[str, Any]:
    path = folder / "events.jsonl"
    path.touch()
    beating = Pulse(EventLog(path, started_at=0.0))
    if on_gpu:
        beating.watch_gpus()
    beating.start()
    found: list[dict[str, Any]] = []
    while not found:
        found = [event for _, event in EventReader(path).poll() if event["kind"] == "system"]
    beating.stop()
    return found[0]


def test_a_beat_tells_of_the_gpus_of_a_run_that_works_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, Gpu(), Gpu("NVIDIA L4"))
    assert [gpu["name"] for gpu in first_gauges(tmp_path, on_gpu=True)["gpus"]] == ["NVIDIA H200", "NVIDIA L4"]


def test_a_machine_without_gpus_has_an_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch)
    assert first_gauges(tmp_path, on_gpu=True)["gpus"] == []


def test_a_run_without_a_gpu_never_asks_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = pretend_gpus(monkeypatch, Gpu())
    monkeypatch.delitem(sys.modules, "engines.gpus", raising=False)
    found = first_gauges(tmp_path, on_gpu=False)
    assert found["gpus"] == [] and found["rss_bytes"] > 0
    assert nvml.asked == [] and "engines.gpus" not in sys.modules
