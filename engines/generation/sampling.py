"""Lets a language model speak, a token at a time, and tells how likely each token was."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engines.data.tokenizers import BOS, Tokenizer
from engines.interfaces import LanguageModel, SampledToken
from engines.random_stream import RandomStream
from engines.settings.sample import SampleSettings

_SIDE_BY_SIDE = 32  # samples that are drawn together


class GeneratedToken(NamedTuple):
    """A drawn token of the sample numbered `sample`. Probabilities are the model's own, before temperature and
    truncation.

    `text` is what the token makes certain: it may be empty, where a character is not whole yet, and where the
    document ends; `last` tells that no token follows.
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
    """Tokens that follow the prompt, until each sample's document ends or it has `max_new_tokens`.

    The samples are drawn side by side. Sample i of the same settings draws by the same random numbers, whatever
    others are drawn beside it. UserError if the prompt has an unknown character.
    """
    if settings.max_new_tokens == 0 or not samples:
        return
    prompt = [BOS, *tokenizer.encode(settings.prompt)]
    decoder = model.decoder([prompt] * len(samples))
    voices = [SampleState(tokenizer, settings, sample) for sample in samples]
    uniforms = ([voice.stream.unit() for voice in voices] for _ in range(settings.max_new_tokens))
    for drawn in decoder.stream(settings, uniforms):
        for voice, token in zip(voices, drawn, strict=True):
            if voice.left:
                yield voice.say(token)
        if not any(voice.left for voice in voices):
            return


def split_into_groups(count: int) -> Iterator[range]:
    """The numbers of `count` samples, in groups small enough to be drawn together."""
    for first in range(0, count, _SIDE_BY_SIDE):
        yield range(first, min(first + _SIDE_BY_SIDE, count))


class SampleState:
    """One sample: its random numbers, its text so far as whole characters, and how many tokens it may still say."""

    def __init__(self, tokenizer: Tokenizer, settings: SampleSettings, sample: int) -> None:
        self.stream = RandomStream(settings.seed, f"sample {sample}")
        self.left = settings.max_new_tokens
        self._sample = sample
        self._tokenizer = tokenizer
        self._text = tokenizer.stream_decoder()

    def say(self, drawn: SampledToken) -> GeneratedToken:
        self.left = 0 if drawn.id == BOS else self.left - 1
        text = self._text.decode(drawn.id)
        if self.left == 0:
            text += self._text.flush()
        alternatives = [(self._tokenizer.decode_token(i), probability) for i, probability in drawn.alternatives]
        return GeneratedToken(self._sample, drawn.id, text, drawn.probability, alternatives, self.left == 0)


def generate_documents(model: LanguageModel, tokenizer: Tokenizer, settings: SampleSettings) -> str:
    """Some `max_new_tokens` tokens of documents, a line each: one if there is a prompt, else as many as it takes."""
    texts: list[str] = []
    left = settings.max_new_tokens
    while left > 0 and not (texts and settings.prompt):
        limited = dataclasses.replace(settings, max_new_tokens=left)
        tokens = list(generate(model, tokenizer, limited, (len(texts),)))
        texts.append("".join(token.text for token in tokens))
        left -= len(tokens)
    return "\n".join(texts)
