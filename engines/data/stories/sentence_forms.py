"""The forms of the sentences of the stories: a sentence is grammatical if some story has a sentence of its form.

The form of a sentence has the categories of its words instead of the words, numbered where a word may occur again:
"Tom asked Mia, "Do you love figs?" "No, I love buns," said Mia." has the form of the same sentence about any other two
people and foods. So a sentence that contradicts itself is not grammatical; whether it agrees with the sentences before
it is a question for `derivability.py`.
"""

import re
from collections import Counter
from functools import cache

from engines.data.stories import word_lists
from engines.data.stories.grammar import generate_stories

_REFERENCE_BYTES = 1_000_000  # of stories, whose sentences have all 102 forms
_NUMBERED = ("name", "noun", "colour", "food", "pet", "pet name", "place")  # categories whose words may occur twice
_OTHERS = ("WHEN", "LATER", "WENT", "KINDS", "STRANGERS", "MOODS", "ACTS", "PET_DEEDS")
_SENTENCE = re.compile(r"[^.]*\.")


def is_grammatical(sentence: str) -> bool:
    """Return whether some story has a sentence of this form. The first call takes a second."""
    return form_of(sentence) in _known_forms()


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without the space between them. What follows the last full stop is none."""
    return [sentence.strip(" \n") for sentence in _SENTENCE.findall(text)]


def form_of(sentence: str) -> str:
    """Return the form of a sentence."""
    numbers: dict[str, str] = {}
    counts: Counter[str] = Counter()

    def replace(match: re.Match[str]) -> str:
        word = match[0]
        category = _categories()[word]
        if category not in _NUMBERED:
            return f"<{category}>"
        if word not in numbers:
            counts[category] += 1
            numbers[word] = f"<{category} {counts[category]}>"
        return numbers[word]

    return _words().sub(replace, sentence)


@cache
def _known_forms() -> frozenset[str]:
    stories = generate_stories(_REFERENCE_BYTES, seed=0)
    return frozenset(form_of(sentence) for story in stories for sentence in split_sentences(story.text))


@cache
def _categories() -> dict[str, str]:
    """Return the category of each word that belongs to one only. Manners are words like others, without full stops."""
    lists = [word_lists.NAMES, word_lists.NOUNS, word_lists.COLOURS, word_lists.FOODS, word_lists.PETS]
    lists += [word_lists.PET_NAMES, word_lists.PLACES, *word_lists.SPOTS.values()]
    lists += [getattr(word_lists, name) for name in _OTHERS]
    pairs = {(word, options.name) for options in lists for word in options.texts}
    pairs |= {(word.strip(" ."), "manner") for word in word_lists.MANNERS.texts if word != "."}
    shared = Counter(word for word, _ in pairs)
    return {word: category for word, category in pairs if shared[word] == 1}


@cache
def _words() -> re.Pattern[str]:
    longest_first = sorted(_categories(), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")
