"""Draws text from a language model, a token at a time, and tells how likely each token was."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engines.config import SampleSettings
from engines.data.tokenizers import BOS, CharTokenizer
from engines.engine import LanguageModel
from engines.random_stream import RandomStream

_ALTERNATIVES = 5


class Token(NamedTuple):
    """A drawn token. Probabilities are the model's own, before temperature and truncation.

    `text` is empty for the token that ends a document.
    """

    id: int
    text: str
    probability: float
    alternatives: list[tuple[str, float]]


def generate(
    model: LanguageModel, tokenizer: CharTokenizer, settings: SampleSettings, index: int = 0
) -> Iterator[Token]:
    """Tokens that follow the prompt, until the document ends or `max_new_tokens` are drawn.

    Sample `index` of the same settings is always the same. LabError if the prompt has an unknown character.
    """
    prompt = [BOS, *tokenizer.encode(settings.prompt)]
    return _continuation(model, tokenizer, settings, prompt, RandomStream(settings.seed, f"sample {index}"))


def _continuation(
    model: LanguageModel, tokenizer: CharTokenizer, settings: SampleSettings, context: list[int], stream: RandomStream
) -> Iterator[Token]:
    for _ in range(settings.max_new_tokens):
        logits = model.logits(context[-model.context_length :])
        chosen = draw(logits, settings, stream)
        probabilities = softmax(logits, 1.0)
        likeliest = sorted(range(len(logits)), key=lambda i: -probabilities[i])[:_ALTERNATIVES]
        alternatives = [(tokenizer.token_text(i), probabilities[i]) for i in likeliest]
        yield Token(chosen, tokenizer.token_text(chosen), probabilities[chosen], alternatives)
        if chosen == BOS:
            return
        context.append(chosen)


def documents(model: LanguageModel, tokenizer: CharTokenizer, settings: SampleSettings) -> str:
    """Some `max_new_tokens` tokens of documents, a line each: one if there is a prompt, else as many as it takes."""
    texts: list[str] = []
    left = settings.max_new_tokens
    while left > 0 and not (texts and settings.prompt):
        limited = dataclasses.replace(settings, max_new_tokens=left)
        tokens = list(generate(model, tokenizer, limited, index=len(texts)))
        texts.append("".join(token.text for token in tokens))
        left -= len(tokens)
    return "\n".join(texts)


def draw(logits: Sequence[float], settings: SampleSettings, stream: RandomStream) -> int:
    """One token id: temperature first, then top-k, then top-p."""
    weights = softmax(logits, settings.temperature)
    candidates = sorted(range(len(weights)), key=lambda i: -weights[i])
    if settings.top_k:
        candidates = candidates[: settings.top_k]
    if settings.top_p < 1.0:
        candidates = _nucleus(candidates, weights, settings.top_p)
    rest = stream.unit() * math.fsum(weights[i] for i in candidates)
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
