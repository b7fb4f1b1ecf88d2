"""Draws tokens on the device, as `engines.generation.decoding.draw` does on the host, and tells what was drawn."""

import torch
from torch import Tensor

from engines.generation.decoding import ALTERNATIVES
from engines.interfaces import SampledToken
from engines.settings.sample import SampleSettings
from engines.tensor.devices import exact_dtype
from engines.tensor.models.base import Arrival

_COLDEST = 1e-30  # float32 divides by it safely; below it a temperature changes nothing any more


def chosen(logits: Tensor, settings: SampleSettings, uniforms: Tensor) -> Tensor:
    """Sample a token (B) for each row of logits (B, V) with a number in [0, 1) each: temperature, top-k, then top-p.
    Temperature 0 is greedy."""
    if settings.top_k == 1 or settings.temperature == 0:
        return logits.argmax(-1)
    colder = (logits - logits.amax(-1, keepdim=True)) / max(settings.temperature, _COLDEST)
    ordered, tokens = colder.softmax(-1).sort(stable=True, dim=-1, descending=True)  # of equals the first, as `draw`
    if settings.top_k:
        ordered[:, settings.top_k :] = 0.0
    if settings.top_p < 1.0:
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.where(before < settings.top_p * ordered.sum(-1, keepdim=True), 0.0)
    held = ordered.cumsum(-1)
    place = (held <= uniforms[:, None] * held[:, -1:]).sum(-1, keepdim=True)
    place = place.where(place < (ordered > 0.0).sum(-1, keepdim=True), 0)  # rounding left a crumb
    return tokens.gather(-1, place).squeeze(-1)


class Drawing:
    """Tokens on their way to the host, with their probabilities and the likeliest others."""

    def __init__(self, logits: Tensor, tokens: Tensor) -> None:
        """Logits (turns, B, V), and tokens (turns, B) that were drawn from them."""
        self.turns = len(tokens)
        probabilities = logits.softmax(-1)
        likeliest, chances = _likeliest(probabilities, min(ALTERNATIVES, logits.shape[-1]))
        tokens = tokens.unsqueeze(-1)
        parts = tokens, probabilities.gather(-1, tokens), likeliest, chances
        exact = exact_dtype(logits.device)  # it holds a token's number, too
        self._arrival = Arrival(torch.cat([part.to(exact) for part in parts], dim=-1))

    def told(self) -> list[list[SampledToken]]:
        """For each turn what was drawn for each row; waits for it."""
        return [[_told(row) for row in turn] for turn in self._arrival.numbers().tolist()]


def _likeliest(probabilities: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest (..., count) and where they are, of equals the first: found one by one, which for few beats topk."""
    rest, places, values = probabilities.clone(), [], []
    for _ in range(count):
        value, place = rest.max(-1, keepdim=True)
        rest.scatter_(-1, place, -1.0)
        places.append(place)
        values.append(value)
    return torch.cat(places, dim=-1), torch.cat(values, dim=-1)


def _told(numbers: list[float]) -> SampledToken:
    token, probability, *likeliest = numbers
    half = len(likeliest) // 2
    return SampledToken(int(token), probability, list(zip(map(int, likeliest[:half]), likeliest[half:], strict=True)))
