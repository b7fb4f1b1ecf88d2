"""How many rows of a batch are worked on at once: as many as were asked for, or as fit and keep the device busy."""

import dataclasses

import psutil
import torch

from engines.cost.memory import USABLE_MEMORY, choose_micro_batch, divisors
from engines.errors import UserError
from engines.interfaces import Decision
from engines.settings.train import TrainSettings
from engines.tensor.devices import Place, device_name


class DoesNotFit(UserError):
    """The requested micro-batch needs more memory than the GPU has."""


class MicroBatch:
    """A divisor of the batch size."""

    def __init__(self, settings: TrainSettings, vocab_size: int, where: Place) -> None:
        self._asked = settings.micro_batch
        self._batch_size = settings.batch_size
        self.rows = self._asked or _fitting(settings, vocab_size, where)
        busy = "the processor" if where.device.type == "cpu" else "the GPU"
        self._why = "asked for" if self._asked else f"they fit in memory and keep {busy} busy"

    @property
    def decisions(self) -> list[Decision]:
        return [Decision("micro-batch", f"{self.rows} of {self._batch_size} rows", self._why)]

    def halve(self) -> None:
        """Go on with about half as many. UserError where that is not ours to decide, or one row is too much."""
        smaller = [rows for rows in divisors(self._batch_size) if rows <= self.rows // 2]
        if not smaller:
            raise UserError("not even one row fits in the GPU's memory; lower --context-length or --depth.")
        if self._asked:
            raise DoesNotFit(
                f"--micro-batch {self.rows} does not fit in the GPU's memory; try {smaller[0]}, or 0 to have one found."
            )
        self.rows = smaller[0]


def _fitting(settings: TrainSettings, vocab_size: int, where: Place) -> int:
    on_gpu = where.device.type == "cuda"
    free = torch.cuda.mem_get_info(where.device)[0] if on_gpu else psutil.virtual_memory().available
    decided = dataclasses.replace(
        settings,
        device=where.device.type,
        dtype=str(where.dtype).removeprefix("torch."),
        compile="on" if where.compiled else "off",
    )
    return max(1, choose_micro_batch(decided, vocab_size, int(USABLE_MEMORY * free), device_name(where.device)))
