"""Sentences that can be derived from the grammar of the stories, counted in generated text."""

import pytest

from engines.data.stories.derivability import SentenceCounts, count_derivable_sentences
from engines.data.stories.grammar import generate_stories

OPENING = (
    "One day, Mia and Tom were in the garden. Mia had a red ball and loved plums. "
    "Tom had a blue kite and loved figs. Tom had a dog called Pip."
)


def test_every_sentence_of_every_story_is_derivable() -> None:
    for story in generate_stories(60_000, seed=3):
        sentences = story.text.count(".")
        assert count_derivable_sentences(story.text, is_complete=True) == (sentences, sentences)


def test_a_text_that_is_cut_has_no_error() -> None:
    story = next(generate_stories(1, seed=4)).text
    for end in range(len(story) + 1):
        sentences = story.count(".", 0, end)
        assert count_derivable_sentences(story[:end], is_complete=False) == (sentences, sentences)


@pytest.mark.parametrize(
    ("rest", "tested", "derivable"),
    [
        ("", 4, 4),
        (" Mia gave the red ball to Tom. Tom hid the red ball under the bench.", 6, 6),
        (" Mia gave the blue kite to Tom. Tom sang.", 5, 4),  # she does not have it
        (' Mia asked Tom, "What do you love?" "I love plums," said Tom.', 5, 4),  # he loves figs
        (" Mia gives the red ball to Tom.", 5, 4),
        (" mia sang.", 5, 4),
        (" Mia", 5, 4),  # the story ended in the middle of a sentence
    ],
)
def test_the_first_sentence_that_contradicts_the_story_is_the_last_that_is_tested(
    rest: str, tested: int, derivable: int
) -> None:
    assert count_derivable_sentences(OPENING + rest, is_complete=True) == SentenceCounts(tested, derivable)


def test_text_that_is_no_story_has_no_derivable_sentence() -> None:
    for text in ("", "x", "A cat sat. It slept.", "\n"):
        counts = count_derivable_sentences(text, is_complete=True)
        assert counts.derivable == 0 and counts.tested == 1
    assert count_derivable_sentences("", is_complete=False) == (0, 0)
