"""Token streams on the device, where the rows of a batch are gathered: a step copies only their start positions."""

import warnings

import torch
from torch import Tensor

from engines.interfaces import Batch
from engines.tensor.async_copy import to_device

# The signed dtype of each unsigned format, and the mask that undoes its sign extension.
_SIGNED = {"B": (torch.uint8, 0xFF), "H": (torch.int16, 0xFFFF), "I": (torch.int32, 0xFFFFFFFF)}
_MAX_MEMORY_FRACTION = 0.25  # of a GPU's free memory; a larger stream stays on the host


class TokenStreams:
    """Keeps the token stream of the last batch on the device, or on the host if it is too large."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._source: memoryview | None = None
        self._stream = torch.empty(0)
        self._mask = 0

    def gather_rows(self, batch: Batch) -> Tensor:
        """Return token ids (B, row_length) on the device, as int64, without waiting for it."""
        if batch.tokens is not self._source:
            self._load(batch.tokens)
        starts = to_device(torch.tensor(batch.starts), self._stream.device)
        positions = starts[:, None] + torch.arange(batch.row_length, device=starts.device)
        rows = self._stream[positions % len(self._stream)]
        return to_device(rows, self._device).long() & self._mask

    def _load(self, tokens: memoryview) -> None:
        dtype, self._mask = _SIGNED[tokens.format]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # it is only read
            stream = torch.frombuffer(tokens, dtype=dtype)
        is_on_gpu = self._device.type == "cuda"
        fits = not is_on_gpu or tokens.nbytes <= _MAX_MEMORY_FRACTION * torch.cuda.mem_get_info(self._device)[0]
        self._stream = stream.to(self._device) if fits else stream
        self._source = tokens
