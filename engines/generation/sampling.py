"""Generates text with a language model, token by token, with the probability of each token."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engines.data.tokenizers import BOS, Tokenizer
from engines.interfaces import LanguageModel, SampledToken
from engines.random_stream import RandomStream
from engines.settings.sample import SampleSettings

_GROUP_SIZE = 32  # samples that are generated as one batch


class GeneratedToken(NamedTuple):
    """A token of the sample numbered `sample`. Probabilities are the model's own, before temperature and truncation.

    `text` is the text that this token completes: empty while a character is incomplete, and where the document ends.
    `last`: no token follows.
    """

    sample: int
    id: int
    text: str
    probability: float
    alternatives: list[tuple[str, float]]
    last: bool


def generate(
    model: LanguageModel, tokenizer: Tokenizer, settings: SampleSettings, samples: Sequence[int] = (0,)
) -> Iterator[GeneratedToken]:
    """Yield the tokens that follow the prompt, until each sample's document ends or has `max_new_tokens` tokens.

    The samples are generated as one batch. Sample i of the same settings uses the same random numbers in any batch.
    Raises UserError if the prompt has an unknown character.
    """
    if settings.max_new_tokens == 0 or not samples:
        return
    prompt = [BOS, *tokenizer.encode(settings.prompt)]
    decoder = model.decoder([prompt] * len(samples))
    states = [SampleState(tokenizer, settings, sample) for sample in samples]
    uniforms = ([state.random.unit() for state in states] for _ in range(settings.max_new_tokens))
    for sampled in decoder.stream(settings, uniforms):
        for state, token in zip(states, sampled, strict=True):
            if state.tokens_left:
                yield state.append(token)
        if not any(state.tokens_left for state in states):
            return


def split_into_groups(count: int) -> Iterator[range]:
    """Yield the numbers of `count` samples, in groups small enough for one batch."""
    for first in range(0, count, _GROUP_SIZE):
        yield range(first, min(first + _GROUP_SIZE, count))


class SampleState:
    """One sample that is being generated: its random numbers, its text so far, and the number of tokens left."""

    def __init__(self, tokenizer: Tokenizer, settings: SampleSettings, sample: int) -> None:
        self.random = RandomStream(settings.seed, f"sample {sample}")
        self.tokens_left = settings.max_new_tokens
        self._sample = sample
        self._tokenizer = tokenizer
        self._text = tokenizer.stream_decoder()

    def append(self, token: SampledToken) -> GeneratedToken:
        """Add a token, and return it with its text."""
        self.tokens_left = 0 if token.id == BOS else self.tokens_left - 1
        text = self._text.decode(token.id)
        if self.tokens_left == 0:
            text += self._text.flush()
        alternatives = [(self._tokenizer.decode_token(i), probability) for i, probability in token.alternatives]
        return GeneratedToken(self._sample, token.id, text, token.probability, alternatives, self.tokens_left == 0)


def generate_documents(model: LanguageModel, tokenizer: Tokenizer, settings: SampleSettings) -> str:
    """Return generated documents, one per line, of `max_new_tokens` tokens in all: only one if there is a prompt."""
    texts: list[str] = []
    left = settings.max_new_tokens
    while left > 0 and not (texts and settings.prompt):
        limited = dataclasses.replace(settings, max_new_tokens=left)
        tokens = list(generate(model, tokenizer, limited, (len(texts),)))
        texts.append("".join(token.text for token in tokens))
        left -= len(tokens)
    return "\n".join(texts)
