"""The forms of the stories' sentences, by which single sentences are grammatical or not."""

import pytest

from engines.data.stories.grammar import generate_stories
from engines.data.stories.sentence_forms import form_of, is_grammatical, split_sentences


def test_every_sentence_of_other_stories_is_grammatical() -> None:
    sentences = [sentence for story in generate_stories(200_000, seed=6) for sentence in split_sentences(story.text)]
    assert len(sentences) > 4000 and all(map(is_grammatical, sentences))


@pytest.mark.parametrize(
    "sentence",
    [
        "Mia gave the red ball to Tom.",
        'Tom asked Mia, "Do you love figs?" "No, I love buns," said Mia loudly.',
        'Tom asked Mia, "Is the ball red?" "No, it is blue," said Mia.',
        "The shy owl sang again.",
        "Mia was shy.",
    ],
)
def test_a_sentence_of_a_possible_story_is_grammatical(sentence: str) -> None:
    assert is_grammatical(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Mia gave the red ball to Mia.",
        'Tom asked Mia, "Do you love figs?" "No, I love figs," said Mia.',
        'Tom asked Mia, "Is the ball red?" "No, it is red," said Mia.',
        'Tom asked Mia, "Do you love figs?" "Yes, I do," said Tom.',
        "Mia ball.",
        "scales.",
        ".",
        "The red owl sang.",
    ],
)
def test_a_sentence_that_is_in_no_story_is_not_grammatical(sentence: str) -> None:
    assert not is_grammatical(sentence)


def test_a_form_numbers_what_may_occur_again() -> None:
    assert form_of("Mia and Tom sat; Mia had a red ball.") == (
        "<name 1> and <name 2> sat; <name 1> had a <colour 1> <noun 1>."
    )


def test_what_follows_the_last_full_stop_is_no_sentence() -> None:
    assert split_sentences("Mia sang. Tom waved.\nLater, Mia") == ["Mia sang.", "Tom waved."]
