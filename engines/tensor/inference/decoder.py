"""Generates text with a GPT and a KV cache: a token costs the same at any length. Rows may differ in length.

A row that fills the context drops its older half and is read again: no token is sampled from less than half of the
context length.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from engines.interfaces import SampledToken, TokenIds
from engines.settings.sample import SampleSettings
from engines.tensor.async_copy import to_device
from engines.tensor.inference.captured_decode import CapturedDecode
from engines.tensor.inference.fuse import fuse_for_inference
from engines.tensor.inference.kv_cache import DecodeContext, KVCache, PrefillContext
from engines.tensor.inference.sampling import PendingSamples, sample_tokens
from engines.tensor.models.base import TensorModel
from engines.tensor.models.gpt import GPT


class CachedDecoding:
    """Makes decoders of one model. The state of a decoder that is gone serves the next one of the same batch size."""

    def __init__(self) -> None:
        self.spare_state: DecodeState | None = None

    def __call__(self, model: TensorModel, prompts: Sequence[TokenIds]) -> "CachedDecoder":
        assert isinstance(model, GPT)
        state = self._claim_state(model, len(prompts))
        decoder = CachedDecoder(state, prompts)
        weakref.finalize(decoder, setattr, self, "spare_state", state).atexit = False
        return decoder

    @torch.no_grad()
    def _claim_state(self, model: GPT, batch_size: int) -> "DecodeState":
        """Return the spare state, with the model's current weights, if its batch size fits; else a new one."""
        state, self.spare_state = self.spare_state, None
        if state is None or state.batch_size != batch_size:
            return DecodeState(model, batch_size)
        current = fuse_for_inference(model)
        for held, weight in zip(state.model.parameters(), current.parameters(), strict=True):
            held.copy_(weight)
        state.cache.clear()
        return state


class DecodeState:
    """Device state of decoding a batch: a fused model, a cache and captured steps."""

    def __init__(self, model: GPT, batch_size: int) -> None:
        self.batch_size, self._is_compiled = batch_size, model.compiles_decoding
        self.model = fuse_for_inference(model)
        self.cache = KVCache(self.model, batch_size)
        self._captured: CapturedDecode | None = None

    def has_captured(self, settings: SampleSettings) -> bool:
        """Return whether a step that samples with these settings is captured."""
        return self._captured is not None and self._captured.settings == settings

    def capture(self, settings: SampleSettings, logits: Tensor) -> CapturedDecode:
        """Return captured steps that sample with these settings; `logits` (B, V) are an example."""
        if self._captured is None or not self.has_captured(settings):
            self._captured = CapturedDecode(settings, logits)
            cache = self.cache
            self._captured.capture(self.next_logits, cache.lengths, cache.state_besides_lengths(), self._is_compiled)
        return self._captured

    def next_logits(self, tokens: Tensor) -> Tensor:
        """Read a token (B) of each row; return the logits (B, V) of the next one."""
        tokens = tokens.unsqueeze(1)  # (B, 1)
        hidden = self.model.hidden_states(tokens, DecodeContext(self.cache, tokens))  # (B, 1, C)
        return self.model.project_to_logits(hidden[:, 0])


class CachedDecoder:
    """Rows of text that one model continues.

    Its state must not refer to it: objects that are alive while a step is captured are never garbage-collected.
    """

    def __init__(self, state: DecodeState, prompts: Sequence[TokenIds]) -> None:
        self._state = state
        self._model, self._cache = state.model, state.cache
        self._rows = [list(prompt) for prompt in prompts]
        self._logits = torch.empty(0)
        self._prefill()

    @torch.no_grad()
    def sample(self, settings: SampleSettings, uniforms: Sequence[float]) -> list[SampledToken]:
        """Return the next token of each row, by a number in [0, 1) each, without reading it."""
        tokens = sample_tokens(self._logits, settings, self._copy_uniforms([uniforms])[0])
        return PendingSamples(self._logits.unsqueeze(0), tokens.unsqueeze(0)).wait()[0]

    @torch.no_grad()
    def read(self, tokens: Sequence[int]) -> None:
        """Append one token to each row."""
        self._append(tokens)
        if self._max_length > self._model.context_length:
            self._prefill()
            return
        self._logits = self._state.next_logits(to_device(torch.tensor(tokens), self._model.device))
        self._cache.lengths += 1

    def stream(self, settings: SampleSettings, uniforms: Iterable[Sequence[float]]) -> Iterator[list[SampledToken]]:
        if self._model.device.type == "cuda":
            yield from self.stream_ahead(settings, iter(uniforms))
            return
        samples: list[SampledToken] = []
        for numbers in uniforms:
            if samples:
                self.read([sample.id for sample in samples])
            samples = self.sample(settings, numbers)
            yield samples

    def stream_ahead(
        self, settings: SampleSettings, uniforms: Iterator[Sequence[float]]
    ) -> Iterator[list[SampledToken]]:
        """Let the device sample many tokens by itself, and the next ones while those are yielded.

        Before a step is captured, the first token is yielded alone.
        """
        pending: PendingSamples | None = None
        max_steps = 1 if self._state.has_captured(settings) else 0
        while True:
            room = self._model.context_length - self._max_length - (pending.steps if pending else 0)
            following = self._run_captured(settings, list(islice(uniforms, min(room, max_steps))))
            max_steps = CapturedDecode.MAX_STEPS
            if pending:
                for samples in pending.wait():
                    self._append([sample.id for sample in samples])
                    yield samples
            pending = following
            if pending is None:
                numbers = next(uniforms, None)
                if numbers is None:
                    return
                samples = self.sample(settings, numbers)
                yield samples
                self.read([sample.id for sample in samples])

    @torch.no_grad()
    def _run_captured(self, settings: SampleSettings, uniforms: list[Sequence[float]]) -> PendingSamples | None:
        """Have a token per row sampled and read for each of `uniforms`; None if there are none."""
        if not uniforms:
            return None
        captured = self._state.capture(settings, self._logits)
        pending = captured.run(self._logits, self._copy_uniforms(uniforms))
        self._logits = captured.logits
        return pending

    def _append(self, tokens: Sequence[int]) -> None:
        for row, token in zip(self._rows, tokens, strict=True):
            row.append(token)

    @property
    def _max_length(self) -> int:
        return max(map(len, self._rows))

    def _copy_uniforms(self, uniforms: Sequence[Sequence[float]]) -> Tensor:
        return to_device(torch.tensor(uniforms, dtype=torch.float32), self._model.device)

    @torch.no_grad()
    def _prefill(self) -> None:
        """Read every row from its first token, or the newer half of one that is too long. Equal rows are read once."""
        limit = self._model.context_length
        self._rows = [row if len(row) <= limit else row[-max(1, limit // 2) :] for row in self._rows]
        lengths = [len(row) for row in self._rows]
        index_of = {row: index for index, row in enumerate(dict.fromkeys(map(tuple, self._rows)))}
        tokens = self._model.pad_rows(list(index_of), max(lengths))
        row_index = to_device(torch.tensor([index_of[tuple(row)] for row in self._rows]), self._model.device)
        self._cache.lengths.copy_(torch.tensor(lengths))
        context = PrefillContext(self._model, tokens, row_index, self._cache)
        hidden = self._model.hidden_states(tokens, context)  # (distinct rows, T, C)
        self._logits = self._model.project_to_logits(hidden[row_index, self._cache.lengths - 1])
