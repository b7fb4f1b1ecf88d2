"""`bench laptop`: the generated sentences that it tests."""

import math
from collections.abc import Sequence

import pytest

from engines.bench.laptop import SampleQuality, evaluate_samples
from engines.data.stories.grammar import generate_stories
from engines.data.tokenizers import BOS, CharTokenizer
from engines.generation.decoding import FullContextDecoder
from engines.generation.load import LoadedModel
from engines.interfaces import Decoder

STORY = min((story.text for story in generate_stories(20_000, seed=1)), key=len)
SENTENCES = STORY.count(".")


class Reciter:
    """A model that generates one text, then ends the document."""

    parameter_count, compiles_decoding, context_length = 0, False, 10_000

    def __init__(self, text: str, tokenizer: CharTokenizer) -> None:
        self._tokens = [*tokenizer.encode(text), BOS]
        self._vocab_size = tokenizer.vocab_size

    def logits(self, context: Sequence[int]) -> list[float]:
        following = self._tokens[len(context) - 1]
        return [0.0 if token == following else -math.inf for token in range(self._vocab_size)]

    def score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[0.0] * (len(row) - 1) for row in rows]

    def decoder(self, prompts: Sequence[Sequence[int]]) -> Decoder:
        return FullContextDecoder([self.logits] * len(prompts), self.context_length, prompts)


def load_reciter(text: str) -> LoadedModel:
    tokenizer = CharTokenizer("".join(sorted(set(text))))
    return LoadedModel(Reciter(text, tokenizer), tokenizer, "a text")


@pytest.mark.parametrize("count", [1, SENTENCES, SENTENCES + 1, 3 * SENTENCES])
def test_every_sentence_of_a_story_is_grammatical_and_agrees_with_it(count: int) -> None:
    assert evaluate_samples(load_reciter(STORY), count) == SampleQuality(1.0, 1.0)


def test_a_contradiction_counts_once_per_story_though_every_sentence_is_grammatical() -> None:
    text = f"{STORY} Raj had a red ball and loved figs. Raj had a red ball and loved figs."
    quality = evaluate_samples(load_reciter(text), 2 * (SENTENCES + 2))
    assert quality == SampleQuality(1.0, SENTENCES / (SENTENCES + 1))


def test_a_model_that_generates_no_story_has_no_grammatical_sentence() -> None:
    assert evaluate_samples(load_reciter("a cat sat."), 5) == SampleQuality(0.0, 0.0)
    assert evaluate_samples(load_reciter("a cat sat"), 2) == SampleQuality(0.0, 0.0)
