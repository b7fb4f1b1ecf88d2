"""Samples tokens on the device, as `engines.generation.decoding` does on the host."""

import torch
from torch import Tensor

from engines.generation.decoding import ALTERNATIVES
from engines.interfaces import SampledToken
from engines.settings.sample import SampleSettings
from engines.tensor.async_copy import AsyncCopy
from engines.tensor.devices import accumulation_dtype

_MIN_TEMPERATURE = 1e-30  # float32 divides by it safely; a lower temperature samples the same


def sample_tokens(logits: Tensor, settings: SampleSettings, uniforms: Tensor) -> Tensor:
    """Return a token (B) for each row of logits (B, V) by a number (B) in [0, 1): temperature, top-k, then top-p.

    Temperature 0 is greedy.
    """
    if settings.top_k == 1 or settings.temperature == 0:
        return logits.argmax(-1)
    scaled = (logits - logits.amax(-1, keepdim=True)) / max(settings.temperature, _MIN_TEMPERATURE)
    # stable: of equal probabilities the first token comes first, as on the host
    probabilities, tokens = scaled.softmax(-1).sort(stable=True, dim=-1, descending=True)
    if settings.top_k:
        probabilities[:, settings.top_k :] = 0.0
    if settings.top_p < 1.0:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.where(before < settings.top_p * probabilities.sum(-1, keepdim=True), 0.0)
    cumulative = probabilities.cumsum(-1)
    index = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(-1, keepdim=True)
    index = index.where(index < (probabilities > 0.0).sum(-1, keepdim=True), 0)  # rounding may pass the last token
    return tokens.gather(-1, index).squeeze(-1)


class PendingSamples:
    """Sampled tokens on their way to the host, with their probabilities and likely alternatives."""

    def __init__(self, logits: Tensor, tokens: Tensor) -> None:
        """`logits` (steps, B, V), and `tokens` (steps, B) sampled from them."""
        self.steps = len(tokens)
        probabilities = logits.softmax(-1)
        alternatives, chances = _top_k(probabilities, min(ALTERNATIVES, logits.shape[-1]))
        tokens = tokens.unsqueeze(-1)
        parts = tokens, probabilities.gather(-1, tokens), alternatives, chances
        dtype = accumulation_dtype(logits.device)  # it represents every token id
        self._copy = AsyncCopy(torch.cat([part.to(dtype) for part in parts], dim=-1))

    def wait(self) -> list[list[SampledToken]]:
        """Return each step's tokens, one per row."""
        return [[_to_sampled_token(row) for row in step] for step in self._copy.wait().tolist()]


def _top_k(probabilities: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the indices and values (..., k) of the largest, of equals the first. For small k faster than topk."""
    rest, indices, values = probabilities.clone(), [], []
    for _ in range(k):
        value, index = rest.max(-1, keepdim=True)
        rest.scatter_(-1, index, -1.0)
        indices.append(index)
        values.append(value)
    return torch.cat(indices, dim=-1), torch.cat(values, dim=-1)


def _to_sampled_token(numbers: list[float]) -> SampledToken:
    token, probability, *rest = numbers
    half = len(rest) // 2
    return SampledToken(int(token), probability, list(zip(map(int, rest[:half]), rest[half:], strict=True)))
