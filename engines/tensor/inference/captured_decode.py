"""Turns: a token of each row is drawn and read, again and again, without the host. A turn is a recorded graph."""

import gc
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engines.settings.sample import SampleSettings
from engines.tensor.graphed_callable import Recorded
from engines.tensor.inference.sampling import Drawing, chosen


class Turns:
    """Room for the turns that are taken at once. What they need lies at addresses that never change."""

    MOST = 16  # at once: enough to hide the host's work, few enough to stop soon

    def __init__(self, settings: SampleSettings, logits: Tensor) -> None:
        """For rows of which `logits` (B, V) tell what follows."""
        rows, device = len(logits), logits.device
        self.settings = settings
        self.logits = torch.zeros_like(logits)
        self._uniforms = torch.zeros(self.MOST, rows, device=device)
        self._before = torch.empty(self.MOST, *logits.shape, dtype=logits.dtype, device=device)
        self._tokens = torch.zeros(self.MOST, rows, dtype=torch.long, device=device)
        self._turn = torch.zeros(1, dtype=torch.long, device=device)
        self._recorded: Recorded | None = None

    def record(
        self, next_logits: Callable[[Tensor], Tensor], lengths: Tensor, changing: Sequence[Tensor], compiled: bool
    ) -> None:
        """Rehearse and record a turn: `next_logits` reads tokens (B) behind the rows, `lengths` (B) long. What reading
        changes is put back; the rows must have room for a token. Nothing of `next_logits` is held afterwards."""

        def turn() -> Tensor:
            return self._draw_and_read(next_logits, lengths)

        changing = [*changing, lengths]
        kept = [tensor.clone() for tensor in changing]
        self._recorded = Recorded(torch.compile(turn, dynamic=False) if compiled else turn, ())
        for tensor, old in zip(changing, kept, strict=True):
            tensor.copy_(old)
        gc.freeze()  # looking through torch's and its compiler's objects takes as long as hundreds of turns

    def take(self, logits: Tensor, uniforms: Tensor) -> Drawing:
        """As many turns as there are rows of `uniforms` (turns, B), the first from `logits`; nothing waits for them."""
        assert self._recorded is not None
        turns = len(uniforms)
        self.logits.copy_(logits)
        self._uniforms[:turns].copy_(uniforms)
        self._turn.zero_()
        for _ in range(turns):
            self._recorded()
        return Drawing(self._before[:turns], self._tokens[:turns])

    def _draw_and_read(self, next_logits: Callable[[Tensor], Tensor], lengths: Tensor) -> Tensor:
        self._before.index_copy_(0, self._turn, self.logits.unsqueeze(0))
        tokens = chosen(self.logits, self.settings, self._uniforms[self._turn].squeeze(0))
        self._tokens.index_copy_(0, self._turn, tokens.unsqueeze(0))
        self.logits.copy_(next_logits(tokens))
        lengths += 1
        self._turn += 1
        return tokens
