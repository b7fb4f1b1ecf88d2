"""How one token is drawn from logits, and the decoder of models that read their whole context for every token."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from engines.interfaces import SampledToken, TokenIds
from engines.settings.sample import SampleSettings

ALTERNATIVES = 5


class RereadingDecoder:
    """Asks for the logits of the last `context_length` tokens each time: nothing is kept but the tokens."""

    def __init__(
        self, logits: Callable[[TokenIds], Sequence[float]], context_length: int, prompts: Sequence[TokenIds]
    ) -> None:
        self._logits = logits
        self._context_length = context_length
        self._rows = [list(prompt) for prompt in prompts]

    def stream(self, settings: SampleSettings, uniforms: Iterable[Sequence[float]]) -> Iterator[list[SampledToken]]:
        for numbers in uniforms:
            drawn = self.draw(settings, numbers)
            yield drawn
            self.read([one.id for one in drawn])

    def draw(self, settings: SampleSettings, uniforms: Sequence[float]) -> list[SampledToken]:
        """The next token of each row, each by a number in [0, 1); not read yet."""
        return [self._draw(row, settings, uniform) for row, uniform in zip(self._rows, uniforms, strict=True)]

    def read(self, tokens: Sequence[int]) -> None:
        """One token more for each row."""
        for row, token in zip(self._rows, tokens, strict=True):
            row.append(token)

    def _draw(self, row: list[int], settings: SampleSettings, uniform: float) -> SampledToken:
        logits = self._logits(row[-self._context_length :])
        chosen = draw(logits, settings, uniform)
        probabilities = softmax(logits, 1.0)
        likeliest = sorted(range(len(logits)), key=lambda i: -probabilities[i])[:ALTERNATIVES]
        return SampledToken(chosen, probabilities[chosen], [(i, probabilities[i]) for i in likeliest])


def draw(logits: Sequence[float], settings: SampleSettings, uniform: float) -> int:
    """Sample a token id with a number in [0, 1): temperature first, then top-k, then top-p. Temperature 0 is greedy:
    the most likely token, the first of equals."""
    if settings.temperature == 0:
        return max(range(len(logits)), key=logits.__getitem__)
    weights = softmax(logits, settings.temperature)
    candidates = sorted(range(len(weights)), key=lambda i: -weights[i])
    if settings.top_k:
        candidates = candidates[: settings.top_k]
    if settings.top_p < 1.0:
        candidates = _nucleus(candidates, weights, settings.top_p)
    rest = uniform * math.fsum(weights[i] for i in candidates)
    for i in candidates:
        rest -= weights[i]
        if rest < 0.0:
            return i
    return candidates[0]  # rounding left a crumb


def softmax(logits: Sequence[float], temperature: float) -> list[float]:
    """Probabilities at a temperature; any temperature above 0 is safe."""
    highest = max(logits)
    weights = [math.exp((x - highest) / temperature) for x in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _nucleus(candidates: list[int], weights: Sequence[float], top_p: float) -> list[int]:
    """The fewest likeliest candidates that hold `top_p` of the candidates' probability."""
    goal = top_p * math.fsum(weights[i] for i in candidates)
    held = 0.0
    for count, i in enumerate(candidates, 1):
        held += weights[i]
        if held >= goal:
            return candidates[:count]
    return candidates
