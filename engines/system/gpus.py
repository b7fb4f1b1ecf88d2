"""NVIDIA GPUs, asked of their driver through NVML: which there are, and how they are doing. Torch takes seconds."""

import functools
import importlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from engines.numbered_names import parse_number


class Gpu(NamedTuple):
    """One GPU, as its driver tells it."""

    name: str
    total_bytes: int
    free_bytes: int
    driver: str


def list_gpus() -> list[Gpu]:
    """The NVIDIA GPUs that CUDA programs would see here, in their order; none where there is no driver."""
    try:
        nvml = _library()
        driver = str(nvml.nvmlSystemGetDriverVersion())
        return [_gpu(nvml, handle, driver) for handle in _visible(nvml)]
    except Exception:  # no package, no driver, a driver in trouble, or memory that is not the GPU's own
        return []


def _gpu(nvml: Any, handle: Any, driver: str) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(str(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free), driver)


class GpuMonitor:
    """How the GPUs that CUDA programs see are doing. Whether there are any is asked once, at the first reading."""

    def read(self) -> list[dict[str, Any]]:
        """For each GPU its figures, as they stand in the event `system`; None where the driver does not tell."""
        return [self._read(*handles) for handles in self._handles]

    @functools.cached_property
    def _handles(self) -> list[tuple[Any, Any]]:
        """Each GPU, and the whole of it: under MIG it may be a part, which has no power and temperature of its own."""
        try:
            self._nvml = _library()
            return [(handle, self._whole(handle)) for handle in _visible(self._nvml)]
        except Exception:  # no package, no driver, or a driver in trouble: gauges must not end a training
            return []

    def _whole(self, handle: Any) -> Any:
        found = self._told(self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle)
        return handle if found is None else found

    def _read(self, handle: Any, whole: Any) -> dict[str, Any]:
        nvml = self._nvml
        utilisation = self._told(nvml.nvmlDeviceGetUtilizationRates, handle)  # not supported under MIG
        memory = self._told(nvml.nvmlDeviceGetMemoryInfo, handle)
        return {
            "name": self._told(nvml.nvmlDeviceGetName, handle),
            "utilisation_percent": utilisation and utilisation.gpu,
            "memory_used_bytes": memory and memory.used,
            "memory_total_bytes": memory and memory.total,
            "power_watts": _from_milli(self._told(nvml.nvmlDeviceGetPowerUsage, whole)),
            "power_limit_watts": _from_milli(self._told(nvml.nvmlDeviceGetEnforcedPowerLimit, whole)),
            "temperature_celsius": self._told(nvml.nvmlDeviceGetTemperature, whole, nvml.NVML_TEMPERATURE_GPU),
        }

    def _told(self, ask: Callable[..., Any], *about: Any) -> Any:
        """What the driver answers, or None where it does not."""
        try:
            return ask(*about)
        except self._nvml.NVMLError:
            return None


def _from_milli(number: int | None) -> float | None:
    return None if number is None else number / 1000


def _library() -> Any:
    """NVML, ready to be asked for as long as this process lives. Raises where its package or a driver is missing."""
    nvml = importlib.import_module("pynvml")  # without types, and only a dependency on Linux
    nvml.nvmlInit()
    return nvml


def _visible(nvml: Any) -> list[Any]:
    """Handles of the GPUs that CUDA_VISIBLE_DEVICES leaves, up to the first that is not there, as CUDA reads it.

    NVML counts in the order of the bus. CUDA does so where all GPUs are alike, and else begins with the fastest.
    """
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return handles
    found = []
    for word in asked.split(","):
        handle = _named(nvml, handles, word.strip())
        if handle is None:
            break
        found.append(handle)
    return found


def _named(nvml: Any, handles: list[Any], word: str) -> Any:
    """The GPU of a number, of the beginning of a UUID, or the part of one that a MIG UUID names; None for no such."""
    index = parse_number(word)
    if index is not None:
        return handles[index] if index < len(handles) else None
    if word.startswith("MIG-"):
        try:
            return nvml.nvmlDeviceGetHandleByUUID(word)
        except nvml.NVMLError:
            return None
    return next((handle for handle in handles if word and nvml.nvmlDeviceGetUUID(handle).startswith(word)), None)
