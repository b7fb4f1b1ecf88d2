"""Decoding without the host: a step samples a token of each row and reads it. It is captured as a CUDA graph."""

import gc
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engines.settings.sample import SampleSettings
from engines.tensor.graphed_callable import GraphedCallable
from engines.tensor.inference.sampling import PendingSamples, sample_tokens

NextLogits = Callable[[Tensor], Tensor]


class CapturedDecode:
    """A captured decoding step, and the buffers of the steps that run at once."""

    MAX_STEPS = 16  # at once: enough to hide the host's work, few enough to stop soon

    def __init__(self, settings: SampleSettings, logits: Tensor) -> None:
        """`logits` (B, V) of the next token of each row, as an example."""
        rows, device = len(logits), logits.device
        self.settings = settings
        self.logits = torch.zeros_like(logits)
        self._uniforms = torch.zeros(self.MAX_STEPS, rows, device=device)
        self._logits_before = torch.empty(self.MAX_STEPS, *logits.shape, dtype=logits.dtype, device=device)
        self._tokens = torch.zeros(self.MAX_STEPS, rows, dtype=torch.long, device=device)
        self._step = torch.zeros(1, dtype=torch.long, device=device)
        self._graph: GraphedCallable | None = None

    def capture(
        self, next_logits: NextLogits, lengths: Tensor, other_state: Sequence[Tensor], is_compiled: bool
    ) -> None:
        """Capture a step. `next_logits` reads tokens (B) after rows of `lengths` (B) and changes `other_state`.

        State is restored afterwards. Rows must have room for one more token. No reference to `next_logits` is kept.
        """

        def step() -> Tensor:
            return self._sample_and_read(next_logits, lengths)

        state = [*other_state, lengths]
        saved = [tensor.clone() for tensor in state]
        self._graph = GraphedCallable(torch.compile(step, dynamic=False) if is_compiled else step, ())
        for tensor, old in zip(state, saved, strict=True):
            tensor.copy_(old)
        gc.freeze()  # collecting among the compiler's objects takes as long as hundreds of steps

    def run(self, logits: Tensor, uniforms: Tensor) -> PendingSamples:
        """Run as many steps as there are rows of `uniforms` (steps, B), the first from `logits`, without waiting."""
        assert self._graph is not None
        steps = len(uniforms)
        self.logits.copy_(logits)
        self._uniforms[:steps].copy_(uniforms)
        self._step.zero_()
        for _ in range(steps):
            self._graph()
        return PendingSamples(self._logits_before[:steps], self._tokens[:steps])

    def _sample_and_read(self, next_logits: NextLogits, lengths: Tensor) -> Tensor:
        self._logits_before.index_copy_(0, self._step, self.logits.unsqueeze(0))
        tokens = sample_tokens(self.logits, self.settings, self._uniforms[self._step].squeeze(0))
        self._tokens.index_copy_(0, self._step, tokens.unsqueeze(0))
        self.logits.copy_(next_logits(tokens))
        lengths += 1
        self._step += 1
        return tokens
