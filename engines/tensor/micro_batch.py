"""The number of rows that a step computes at once: as requested, or as many as fit and keep the device busy."""

import dataclasses

import psutil
import torch

from engines.cost.memory import USABLE_MEMORY, choose_micro_batch, divisors
from engines.errors import UserError
from engines.interfaces import Decision
from engines.settings.train import TrainSettings
from engines.tensor.devices import DeviceConfig, device_name


class DoesNotFit(UserError):
    """The requested micro-batch needs more memory than the GPU has."""


class MicroBatch:
    """A divisor of the batch size."""

    def __init__(self, settings: TrainSettings, vocab_size: int, config: DeviceConfig) -> None:
        self._requested = settings.micro_batch
        self._batch_size = settings.batch_size
        self.rows = self._requested or _estimate(settings, vocab_size, config)
        device = "CPU" if config.device.type == "cpu" else "GPU"
        self._reason = "requested" if self._requested else f"fits in memory and keeps the {device} busy"

    @property
    def decisions(self) -> list[Decision]:
        return [Decision("micro-batch", f"{self.rows} of {self._batch_size} rows", self._reason)]

    def halve(self) -> None:
        """Take about half as many rows. Raises UserError if the size was requested, or one row is too large."""
        smaller = [rows for rows in divisors(self._batch_size) if rows <= self.rows // 2]
        if not smaller:
            raise UserError("a single row does not fit in the GPU's memory. Lower --context-length or --depth.")
        if self._requested:
            raise DoesNotFit(
                f"--micro-batch {self.rows} does not fit in the GPU's memory. Try {smaller[0]}, or 0 to choose it "
                "automatically."
            )
        self.rows = smaller[0]


def _estimate(settings: TrainSettings, vocab_size: int, config: DeviceConfig) -> int:
    is_gpu = config.device.type == "cuda"
    free = torch.cuda.mem_get_info(config.device)[0] if is_gpu else psutil.virtual_memory().available
    resolved = dataclasses.replace(
        settings,
        device=config.device.type,
        dtype=str(config.dtype).removeprefix("torch."),
        compile="on" if config.is_compiled else "off",
    )
    return max(1, choose_micro_batch(resolved, vocab_size, int(USABLE_MEMORY * free), device_name(config.device)))
