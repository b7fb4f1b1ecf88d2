"""GPUs and their state are read from the driver; what it does not report is null or an empty list."""

import dataclasses
import sys
from pathlib import Path

import pytest
from builders import pretend_gpus
from fake_nvml import MIB, FakeGpu, FakeNvml

from engines.system import gpus
from engines.system.gpus import GpuMonitor

H200 = FakeGpu()
L4 = FakeGpu("NVIDIA L4", 23034 * MIB, 22563 * MIB, uuid="GPU-77c1", celsius=40)
PART = FakeGpu(
    "NVIDIA H200 MIG 1g.18gb", 16384 * MIB, 16000 * MIB, uuid="MIG-1f00",
    utilisation=None, milliwatts=None, limit_milliwatts=None, celsius=None, whole=H200,
)  # fmt: skip


def test_gpus_are_listed_with_memory_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, H200, L4)
    assert gpus.list_gpus() == [
        gpus.Gpu("NVIDIA H200", 143771 * MIB, 143160 * MIB, "580.65.06"),
        gpus.Gpu("NVIDIA L4", 23034 * MIB, 22563 * MIB, "580.65.06"),
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac may have a Metal GPU without a device file")
def test_a_gpu_may_exist_where_a_driver_has_created_its_device_file(tmp_path: Path) -> None:
    assert not gpus.may_exist(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert gpus.may_exist(tmp_path)


def test_without_driver_or_package_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch)
    assert gpus.list_gpus() == [] and GpuMonitor().read() == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus.list_gpus() == [] and GpuMonitor().read() == []


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("0", ["NVIDIA H200"]),
        ("1, 0", ["NVIDIA L4", "NVIDIA H200"]),
        ("", []),
        ("-1", []),
        ("7", []),
        ("1,7,0", ["NVIDIA L4"]),  # CUDA stops at the first that does not exist
        ("GPU-77", ["NVIDIA L4"]),
        ("GPU-8a3f,1", ["NVIDIA H200", "NVIDIA L4"]),
        ("GPU-0000", []),
        ("MIG-1f00", ["NVIDIA H200 MIG 1g.18gb"]),
        ("MIG-0000", []),
    ],
)
def test_only_gpus_visible_to_cuda_are_listed(visible: str, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, H200, L4, parts=(PART,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.name for gpu in gpus.list_gpus()] == names
    assert [gpu["name"] for gpu in GpuMonitor().read()] == names


def test_the_state_of_each_gpu_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, H200, L4)
    first, second = GpuMonitor().read()
    assert first == {
        "name": "NVIDIA H200",
        "utilisation_percent": 97,
        "memory_used_bytes": 611 * MIB,
        "memory_total_bytes": 143771 * MIB,
        "power_watts": 512.3,
        "power_limit_watts": 700.0,
        "temperature_celsius": 61,
    }
    assert second["name"] == "NVIDIA L4" and second["temperature_celsius"] == 40


def test_a_mig_instance_has_its_own_memory_and_the_power_of_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, H200, parts=(PART,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1f00")
    (found,) = GpuMonitor().read()
    assert found["utilisation_percent"] is None and found["memory_total_bytes"] == 16384 * MIB
    assert found["power_watts"] == 512.3 and found["temperature_celsius"] == 61


def test_a_value_that_the_driver_does_not_report_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, dataclasses.replace(H200, milliwatts=None, celsius=None))
    (found,) = GpuMonitor().read()
    assert found["power_watts"] is None and found["temperature_celsius"] is None and found["utilisation_percent"] == 97


def test_gpus_are_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = pretend_gpus(monkeypatch)
    monitor = GpuMonitor()
    assert nvml.calls == []
    assert monitor.read() == monitor.read() == [] and nvml.calls == ["nvmlInit"]


def test_the_fake_nvml_has_only_functions_of_the_library() -> None:
    library = pytest.importorskip("pynvml")
    names = [name for name in vars(FakeNvml) if name.lower().startswith("nvml")]
    assert len(names) > 10 and [name for name in names if not hasattr(library, name)] == []
