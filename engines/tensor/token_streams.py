"""Token streams on the device: the rows of a batch are gathered there, so that a step copies only where they begin."""

import warnings

import torch
from torch import Tensor

from engines.interfaces import Batch
from engines.tensor.devices import sent

_SIGNED = {"B": (torch.uint8, 0xFF), "H": (torch.int16, 0xFFFF), "I": (torch.int32, 0xFFFFFFFF)}
_LARGEST_PART = 0.25  # of the free memory of a GPU that a stream may take; a larger one stays on the host


class TokenStreams:
    """Holds the stream of the last batch on the device, or on the host where it is too large."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held: memoryview | None = None
        self._stream = torch.empty(0)
        self._mask = 0

    def rows(self, batch: Batch) -> Tensor:
        """Token ids (B, row_length) on the device, as int64. Nothing waits for them."""
        if batch.tokens is not self._held:
            self._hold(batch.tokens)
        starts = sent(torch.tensor(batch.starts), self._stream.device)
        places = starts[:, None] + torch.arange(batch.row_length, device=starts.device)
        rows = self._stream[places % len(self._stream)]
        return sent(rows, self._device).long() & self._mask

    def _hold(self, tokens: memoryview) -> None:
        dtype, self._mask = _SIGNED[tokens.format]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # nor is it written to
            stream = torch.frombuffer(tokens, dtype=dtype)
        fits = self._device.type != "cuda" or tokens.nbytes <= _LARGEST_PART * torch.cuda.mem_get_info(self._device)[0]
        self._stream = stream.to(self._device) if fits else stream
        self._held = tokens
