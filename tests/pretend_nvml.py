"""Stands in for NVML, the library of NVIDIA's driver: tells of GPUs that a test makes up."""

import dataclasses
from types import SimpleNamespace
from typing import Any

MIB = 1 << 20


class NVMLError(Exception):
    """What the driver does not tell."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """What the driver tells of one GPU; it does not support what is None. A part of one has a `whole`."""

    name: str = "NVIDIA H200"
    total: int = 143771 * MIB
    free: int = 143160 * MIB
    driver: str = "580.65.06"
    uuid: str = "GPU-8a3f"
    utilisation: int | None = 97
    milliwatts: int | None = 512_300
    limit_milliwatts: int | None = 700_000
    celsius: int | None = 61
    whole: "Gpu | None" = None


class Nvml:
    """The module `pynvml`, as far as the lab uses it. A handle is the `Gpu` itself."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *gpus: Gpu, parts: tuple[Gpu, ...] = ()) -> None:
        """No GPU: no driver."""
        self._gpus = gpus
        self._parts = parts
        self.asked: list[str] = []

    def nvmlInit(self) -> None:
        self.asked.append("nvmlInit")
        if not self._gpus:
            raise NVMLError

    def nvmlSystemGetDriverVersion(self) -> str:
        return self._gpus[0].driver

    def nvmlDeviceGetCount(self) -> int:
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        return self._gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Gpu:
        return _supported(next((gpu for gpu in (*self._gpus, *self._parts) if gpu.uuid == uuid), None))

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, gpu: Gpu) -> Gpu:
        return _supported(gpu.whole)

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: Gpu) -> str:
        return gpu.name

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> SimpleNamespace:
        return SimpleNamespace(total=gpu.total, free=gpu.free, used=gpu.total - gpu.free)

    def nvmlDeviceGetUtilizationRates(self, gpu: Gpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=_supported(gpu.utilisation), memory=0)

    def nvmlDeviceGetPowerUsage(self, gpu: Gpu) -> int:
        return _supported(gpu.milliwatts)

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: Gpu) -> int:
        return _supported(gpu.limit_milliwatts)

    def nvmlDeviceGetTemperature(self, gpu: Gpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return _supported(gpu.celsius)


def _supported(answer: Any) -> Any:
    if answer is None:
        raise NVMLError
    return answer
