"""Fake of NVML, the library of NVIDIA's driver: reports the GPUs that a test defines."""

import dataclasses
from types import SimpleNamespace
from typing import Any

MIB = 1 << 20


class NVMLError(Exception):
    """Raised for readings that the driver does not support."""


@dataclasses.dataclass(frozen=True)
class FakeGpu:
    """Readings of one GPU; None is not supported. A MIG partition has a `whole`."""

    name: str = "NVIDIA H200"
    total: int = 143771 * MIB
    free: int = 143160 * MIB
    driver: str = "580.65.06"
    uuid: str = "GPU-8a3f"
    utilisation: int | None = 97
    milliwatts: int | None = 512_300
    limit_milliwatts: int | None = 700_000
    celsius: int | None = 61
    whole: "FakeGpu | None" = None


class FakeNvml:
    """The functions of the module `pynvml` that the program uses. A handle is the `FakeGpu` itself."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *gpus: FakeGpu, parts: tuple[FakeGpu, ...] = ()) -> None:
        """Without GPUs, there is no driver. `calls` records initialisations."""
        self._gpus = gpus
        self._parts = parts
        self.calls: list[str] = []

    def nvmlInit(self) -> None:
        self.calls.append("nvmlInit")
        if not self._gpus:
            raise NVMLError

    def nvmlSystemGetDriverVersion(self) -> str:
        return self._gpus[0].driver

    def nvmlDeviceGetCount(self) -> int:
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self._gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        return _supported(next((gpu for gpu in (*self._gpus, *self._parts) if gpu.uuid == uuid), None))

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, gpu: FakeGpu) -> FakeGpu:
        return _supported(gpu.whole)

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return gpu.name

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(total=gpu.total, free=gpu.free, used=gpu.total - gpu.free)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=_supported(gpu.utilisation), memory=0)

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        return _supported(gpu.milliwatts)

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: FakeGpu) -> int:
        return _supported(gpu.limit_milliwatts)

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return _supported(gpu.celsius)


def _supported(answer: Any) -> Any:
    if answer is None:
        raise NVMLError
    return answer
