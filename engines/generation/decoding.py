"""Sampling of one token from logits, and the decoder of models that compute their whole context for every token."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from engines.interfaces import SampledToken, TokenIds
from engines.settings.sample import SampleSettings

ALTERNATIVES = 5  # likeliest tokens that are reported with each sampled one


ContextLogits = Callable[[TokenIds], Sequence[float]]  # of the token after a context


class FullContextDecoder:
    """A decoder that passes the last `context_length` tokens to the model for every new one."""

    def __init__(self, logits: Sequence[ContextLogits], context_length: int, prompts: Sequence[TokenIds]) -> None:
        """`logits`: a function for each row, which may remember what it computed for the last token."""
        self._logits = logits
        self._context_length = context_length
        self._rows = [list(prompt) for prompt in prompts]

    def stream(self, settings: SampleSettings, uniforms: Iterable[Sequence[float]]) -> Iterator[list[SampledToken]]:
        """Yield the next token of each row, once for each of `uniforms`: a number in [0, 1) per row."""
        for numbers in uniforms:
            sampled = self.sample_tokens(settings, numbers)
            yield sampled
            self.append_tokens([token.id for token in sampled])

    def sample_tokens(self, settings: SampleSettings, uniforms: Sequence[float]) -> list[SampledToken]:
        """Return the next token of each row, sampled with a number in [0, 1) per row. It is not appended."""
        rows = zip(self._logits, self._rows, uniforms, strict=True)
        return [self._sample(logits(row[-self._context_length :]), settings, uniform) for logits, row, uniform in rows]

    def append_tokens(self, tokens: Sequence[int]) -> None:
        """Append one token to each row."""
        for row, token in zip(self._rows, tokens, strict=True):
            row.append(token)

    def _sample(self, logits: Sequence[float], settings: SampleSettings, uniform: float) -> SampledToken:
        token = sample_token(logits, settings, uniform)
        probabilities = softmax(logits, 1.0)
        likeliest = sorted(range(len(logits)), key=lambda i: -probabilities[i])[:ALTERNATIVES]
        return SampledToken(token, probabilities[token], [(i, probabilities[i]) for i in likeliest])


def sample_token(logits: Sequence[float], settings: SampleSettings, uniform: float) -> int:
    """Return a token id sampled with a number in [0, 1): temperature first, then top-k, then top-p.

    Temperature 0 is greedy: the most likely token, the first of equals.
    """
    if settings.temperature == 0:
        return max(range(len(logits)), key=logits.__getitem__)
    weights = softmax(logits, settings.temperature)
    candidates = sorted(range(len(weights)), key=lambda i: -weights[i])
    if settings.top_k:
        candidates = candidates[: settings.top_k]
    if settings.top_p < 1.0:
        candidates = _select_nucleus(candidates, weights, settings.top_p)
    rest = uniform * math.fsum(weights[i] for i in candidates)
    for i in candidates:
        rest -= weights[i]
        if rest < 0.0:
            return i
    return candidates[0]  # rounding left a remainder


def softmax(logits: Sequence[float], temperature: float) -> list[float]:
    """Return probabilities at a temperature above 0; no logits overflow."""
    highest = max(logits)
    weights = [math.exp((x - highest) / temperature) for x in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _select_nucleus(candidates: list[int], weights: Sequence[float], top_p: float) -> list[int]:
    """Return the fewest candidates, likeliest first, that hold `top_p` of the probability of all."""
    goal = top_p * math.fsum(weights[i] for i in candidates)
    held = 0.0
    for count, i in enumerate(candidates, 1):
        held += weights[i]
        if held >= goal:
            return candidates[:count]
    return candidates
