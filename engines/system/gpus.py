"""List NVIDIA GPUs and read their state from the driver through NVML, without importing torch, which takes seconds."""

import functools
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from engines.numbered_names import parse_number


class Gpu(NamedTuple):
    """A GPU, as its driver reports it."""

    name: str
    total_bytes: int
    free_bytes: int
    driver: str


# Created by the drivers of NVIDIA GPUs, those of Jetson boards, AMD GPUs, and GPUs under WSL.
_DEVICE_FILES = ("nvidiactl", "nvhost-gpu", "nvgpu", "kfd", "dxg")


def may_exist(devices: Path = Path("/dev")) -> bool:
    """Return False if this machine certainly has no GPU that torch could use."""
    return sys.platform == "darwin" or any((devices / name).exists() for name in _DEVICE_FILES)


def list_gpus() -> list[Gpu]:
    """Return the NVIDIA GPUs that CUDA programs see, in their order; an empty list without a driver."""
    try:
        nvml = _library()
        driver = str(nvml.nvmlSystemGetDriverVersion())
        return [_gpu(nvml, handle, driver) for handle in _visible(nvml)]
    except Exception:  # no package, no driver, a failing driver, or memory that is not the GPU's own
        return []


def _gpu(nvml: Any, handle: Any, driver: str) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(str(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free), driver)


class GpuMonitor:
    """Reads the state of the GPUs that CUDA programs see. They are listed once, at the first reading."""

    def read(self) -> list[dict[str, Any]]:
        """Return an entry of the event `system` for each GPU; None is a value that the driver does not report."""
        return [self._read(*handles) for handles in self._handles]

    @functools.cached_property
    def _handles(self) -> list[tuple[Any, Any]]:
        """The handle of each GPU, and of the physical one: a MIG instance has no power and temperature of its own."""
        try:
            self._nvml = _library()
            return [(handle, self._physical(handle)) for handle in _visible(self._nvml)]
        except Exception:  # no package, no driver, or a failing driver: monitoring must not end a training run
            return []

    def _physical(self, handle: Any) -> Any:
        found = self._query(self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle)
        return handle if found is None else found

    def _read(self, handle: Any, physical: Any) -> dict[str, Any]:
        nvml = self._nvml
        utilisation = self._query(nvml.nvmlDeviceGetUtilizationRates, handle)  # not supported under MIG
        memory = self._query(nvml.nvmlDeviceGetMemoryInfo, handle)
        return {
            "name": self._query(nvml.nvmlDeviceGetName, handle),
            "utilisation_percent": utilisation and utilisation.gpu,
            "memory_used_bytes": memory and memory.used,
            "memory_total_bytes": memory and memory.total,
            "power_watts": _from_milli(self._query(nvml.nvmlDeviceGetPowerUsage, physical)),
            "power_limit_watts": _from_milli(self._query(nvml.nvmlDeviceGetEnforcedPowerLimit, physical)),
            "temperature_celsius": self._query(nvml.nvmlDeviceGetTemperature, physical, nvml.NVML_TEMPERATURE_GPU),
        }

    def _query(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of NVML; return None if the driver does not support it."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None


def _from_milli(number: int | None) -> float | None:
    return None if number is None else number / 1000


def _library() -> Any:
    """Return NVML, initialised until this process exits. Raises an exception if its package or a driver is missing."""
    nvml = importlib.import_module("pynvml")  # has no types, and is a dependency on Linux only
    nvml.nvmlInit()
    return nvml


def _visible(nvml: Any) -> list[Any]:
    """Return handles of the GPUs in CUDA_VISIBLE_DEVICES, up to the first that does not exist, as CUDA reads it.

    NVML counts in PCI bus order. CUDA does so if all GPUs are alike, and otherwise begins with the fastest.
    """
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    selected = os.environ.get("CUDA_VISIBLE_DEVICES")
    if selected is None:
        return handles
    found = []
    for word in selected.split(","):
        handle = _find_handle(nvml, handles, word.strip())
        if handle is None:
            break
        found.append(handle)
    return found


def _find_handle(nvml: Any, handles: list[Any], word: str) -> Any:
    """Return the handle of a number, of the beginning of a UUID, or of a MIG UUID; None if there is no such GPU."""
    index = parse_number(word)
    if index is not None:
        return handles[index] if index < len(handles) else None
    if word.startswith("MIG-"):
        try:
            return nvml.nvmlDeviceGetHandleByUUID(word)
        except nvml.NVMLError:
            return None
    return next((handle for handle in handles if word and nvml.nvmlDeviceGetUUID(handle).startswith(word)), None)
