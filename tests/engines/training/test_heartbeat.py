"""The heartbeat: it records metrics of the machine, and of the GPUs that a run uses."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from builders import pretend_gpus
from fake_nvml import FakeGpu

from engines.errors import UserError
from engines.runs.log import EventLog
from engines.runs.reader import EventReader
from engines.training import heartbeat
from engines.training.heartbeat import Heartbeat


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.1)


def wait_for_events(path: Path, kind: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    while True:
        found = [event for _, event in EventReader(path).poll() if event["kind"] == kind]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, f"no {kind}"
        time.sleep(0.005)


def first_gauges(folder: Path, on_gpu: bool) -> dict[str, Any]:
    path = folder / "events.jsonl"
    path.touch()
    beating = Heartbeat(EventLog(path, started_at=0.0))
    if on_gpu:
        beating.report_gpus()
    beating.start()
    found = wait_for_events(path, "system", 1)
    beating.stop()
    return found[0]


def test_a_heartbeat_of_a_run_on_a_gpu_reports_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, FakeGpu(), FakeGpu("NVIDIA L4"))
    assert [gpu["name"] for gpu in first_gauges(tmp_path, on_gpu=True)["gpus"]] == ["NVIDIA H200", "NVIDIA L4"]


def test_a_machine_without_gpus_has_an_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch)
    assert first_gauges(tmp_path, on_gpu=True)["gpus"] == []


def test_a_run_without_a_gpu_never_asks_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = pretend_gpus(monkeypatch, FakeGpu())
    monkeypatch.delitem(sys.modules, "engines.system.gpus", raising=False)
    found = first_gauges(tmp_path, on_gpu=False)
    assert found["gpus"] == [] and found["rss_bytes"] > 0
    assert nvml.calls == [] and "engines.system.gpus" not in sys.modules


def test_a_metric_that_fails_is_null_and_the_heartbeat_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no such process")

    monkeypatch.setattr(psutil, "Process", fail)
    monkeypatch.setattr(psutil, "cpu_percent", fail)
    monkeypatch.setattr(heartbeat.shutil, "disk_usage", fail)
    path = tmp_path / "events.jsonl"
    path.touch()
    beating = Heartbeat(EventLog(path, started_at=0.0))
    beating.report_gpus()
    monkeypatch.setattr(beating, "_read_gpus", fail)
    beating.start()
    found = wait_for_events(path, "heartbeat", 2)
    beating.stop()
    assert len(found) >= 2 and beating.drain_rss_readings() == []
    (system, *_) = wait_for_events(path, "system", 1)
    names = ("rss_bytes", "cpu_percent", "disk_free_bytes", "gpus")
    assert [system[name] for name in names] == [None, None, None, []]


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_deleted_log_fails_at_every_later_write(replaced: bool, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, started_at=0.0)
    failed = threading.Event()
    beating = Heartbeat(log, failed.set)
    path.unlink()
    if replaced:
        path.touch()
    beating.start()
    assert failed.wait(20)
    beating.stop()
    with pytest.raises(UserError, match="was deleted"):
        log.emit("heartbeat", step=0)
    assert not replaced or path.read_bytes() == b""
