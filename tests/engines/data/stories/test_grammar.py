"""The story corpus: reproducible bytes, one derivation per text, and exact information content."""

from contextlib import suppress
from hashlib import sha256
from itertools import islice, pairwise
from math import fsum, isclose, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data.stories import grammar as module
from engines.data.stories.grammar import (
    ChosenOption,
    OptionSet,
    StoryGrammar,
    generate_stories,
    generate_story,
    parse_story,
    total_nats,
)
from engines.random_stream import RandomStream

SHA256_OF_20_000_BYTES = "fe7f64297f8371d54d87d5611ef88fe6df6f9fe41ff4d0d483f2be16f67cddfb"


def generate(count: int, seed: int = 1) -> list[tuple[str, float, list[ChosenOption]]]:
    stream = RandomStream(seed, "stories")
    return [
        (one.text, one.nats, choices) for one, choices in (module.generate_with_choices(stream) for _ in range(count))
    ]


class RecordingGenerator(module.StoryGenerator):
    """A generator that records the options of every choice."""

    def __init__(self, stream: RandomStream) -> None:
        super().__init__(stream)
        self.options: list[OptionSet] = []

    def choose(self, options: OptionSet) -> int:
        self.options.append(options)
        return super().choose(options)


def all_options(count: int) -> set[tuple[tuple[str, ...], tuple[int, ...]]]:
    stream = RandomStream(2, "stories")
    met: set[tuple[tuple[str, ...], tuple[int, ...]]] = set()
    for _ in range(count):
        writer = RecordingGenerator(stream)
        StoryGrammar(writer).run()
        met.update((tuple(options.texts), tuple(options.bounds)) for options in writer.options)
    return met


class ListChooser:
    """A chooser that takes the listed options, then stops at the next choice."""

    class Stop(Exception):
        pass

    def __init__(self, path: list[int]) -> None:
        self.path, self.taken = path, 0
        self.choices: list[ChosenOption] = []
        self.next: OptionSet | None = None
        self.text = ""

    def literal(self, text: str) -> None:
        self.text += text

    def choose(self, options: OptionSet) -> int:
        if self.taken == len(self.path):
            self.next = options
            raise ListChooser.Stop
        index = self.path[self.taken]
        self.taken += 1
        self.choices.append(options.choice(index))
        self.text += options.texts[index]
        return index


def follow(path: list[int]) -> ListChooser:
    listed = ListChooser(path)
    with suppress(ListChooser.Stop):
        StoryGrammar(listed).run()  # type: ignore[arg-type]
    return listed


def test_the_corpus_is_reproducible() -> None:
    text = "\n\0\n".join(one.text for one in generate_stories(20_000, seed=0))
    assert sha256(text.encode()).hexdigest() == SHA256_OF_20_000_BYTES


def test_every_story_parses_to_the_choices_that_generated_it() -> None:
    for text, information, choices in generate(300):
        assert parse_story(text) == choices
        assert total_nats(parse_story(text)) == information


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_stories_of_any_seed_can_be_parsed(seed: int) -> None:
    one = generate_story(RandomStream(seed, "stories"))
    assert total_nats(parse_story(one.text)) == one.nats


def test_no_option_is_a_prefix_of_another_at_any_choice() -> None:
    for texts, _ in all_options(1000):
        ordered = sorted(texts)  # a prefix sorts right before some text that it begins
        assert not any(after.startswith(before) for before, after in pairwise(ordered))
        assert all(texts)


def test_the_weights_of_the_options_sum_to_the_total() -> None:
    for texts, bounds in all_options(200):
        choices = [OptionSet("any", texts, bounds).choice(index) for index in range(len(texts))]
        assert sum(choice.weight for choice in choices) == bounds[-1]
        assert all(choice.weight > 0 and choice.total == bounds[-1] for choice in choices)


def test_options_are_drawn_in_proportion_to_their_weights() -> None:
    drawn = [0, 0, 0]
    for ticket in range(6):
        stream = RandomStream(0)
        stream.below = lambda _, ticket=ticket: ticket  # type: ignore[method-assign, misc]
        drawn[module.StoryGenerator(stream).choose(module.weighted("any", {"a": 1, "b": 3, "c": 2}))] += 1
    assert drawn == [1, 3, 2]


def test_branches_of_a_story_have_distinct_texts_and_probabilities_that_sum_to_one() -> None:
    path = [choice.option for choice in generate(1)[0][2]]
    for depth in range(0, len(path), 5):
        options = follow(path[:depth]).next
        assert options is not None
        branches = [follow([*path[:depth], index]) for index in range(len(options.texts))]
        assert len({branch.text for branch in branches}) == len(branches)
        assert sum(branch.choices[-1].weight for branch in branches) == branches[0].choices[-1].total


def test_nats_are_the_sum_of_minus_log_p_over_all_choices_but_the_end() -> None:
    for _, information, choices in generate(50):
        assert choices[-1].name == "end or on" and choices[-1].option == 0
        assert isclose(information, fsum(-log(c.weight / c.total) for c in choices[:-1]), rel_tol=1e-12)


def test_a_story_cut_after_a_sentence_is_a_story_with_the_same_choices() -> None:
    for text, _, choices in generate(40):
        boundaries = [i for i, choice in enumerate(choices) if choice.name == "end or on"]
        for boundary in boundaries[:-1]:
            cut = follow([choice.option for choice in choices[:boundary]]).text
            assert text.startswith(cut) and text[len(cut)] in " \n"
            shorter = parse_story(cut)
            assert shorter[:-1] == choices[:boundary]
            assert shorter[-1].option == 0 and shorter[-1].total == choices[boundary].total


SETTING = (
    "One day, Mia and Tom were in the garden. Mia had a red ball and loved plums. "
    "Tom had a blue kite and loved figs. Tom had a dog called Pip."
)
HIDDEN = SETTING + " Mia hid the red ball under the bench.\nLater, Mia walked to the shed with Tom."


@pytest.mark.parametrize(
    ("before", "right", "wrong"),
    [
        (SETTING + " Mia hid the ", "red ball under the bench.", "green ball under the bench."),
        (SETTING + " Mia gave the ", "red ball to Tom.", "blue kite to Tom."),
        (SETTING + ' Mia asked Tom, "What do you love', '?" "I love figs," said Tom.', '?" "I love plums,"'),
        (
            SETTING + ' Tom asked Mia, "What colour is the kite',
            '?" "It is blue," said Mia.',
            '?" "It is red,"',
        ),
        (SETTING + ' Mia asked Tom, "Whose is the ball', '?" "It is yours," said Tom.', '?" "It is mine,"'),
        (
            HIDDEN + ' Mia asked Tom, "Where is the red ball',
            '?" "It is under the bench in the garden," said Tom.',
            '?" "It is behind the wall in the garden," said Tom.',
        ),
        (
            HIDDEN + " Mia looked for the red ball under the bench",
            ", but it was not there.",
            " and found it.",
        ),
        (HIDDEN + "\nLater, Tom went back to the ", "garden.", "castle."),
    ],
)
def test_a_changed_fact_is_refused_at_its_position(before: str, right: str, wrong: str) -> None:
    parse_story(before + right)
    with pytest.raises(ValueError, match=rf"at position {len(before)}: no choice"):
        parse_story(before + wrong)


def test_answers_follow_from_what_the_asked_person_saw() -> None:
    apart = SETTING + "\nLater, Mia ran to the cave. Mia hid the red ball under the moss."
    together = apart + " Soon Tom came from the garden."
    parse_story(together + ' Mia asked Tom, "Where is the red ball?" "I do not know," said Tom.')
    parse_story(together + ' Tom asked Mia, "Where is the red ball?" "It is under the moss in the cave," said Mia.')


@pytest.mark.parametrize("rest", [" ", "\n", "\0", " Mia sang", " Mia sang. ", " mia sang.", "  Mia sang."])
def test_incomplete_and_foreign_text_is_refused(rest: str) -> None:
    with pytest.raises(ValueError, match="at position"):
        parse_story(SETTING + rest)


def test_an_incomplete_opening_is_refused() -> None:
    for length in range(len(SETTING)):
        with pytest.raises(ValueError, match="at position"):
            parse_story(SETTING[:length])


def test_seeds_generate_different_stories() -> None:
    assert len({next(generate_stories(1, seed)).text for seed in range(50)}) == 50


@pytest.mark.parametrize("size", [0, 1, 1000, 30_000])
def test_the_last_story_reaches_the_size(size: int) -> None:
    sizes = [len(one.text.encode()) for one in generate_stories(size, seed=3)]
    assert sum(sizes) >= size > sum(sizes[:-1]) or (size == 0 and not sizes)


def test_a_smaller_corpus_is_a_prefix_of_a_larger_one() -> None:
    small = list(generate_stories(5_000, seed=4))
    assert small == list(islice(generate_stories(20_000, seed=4), len(small)))


def test_stories_are_ascii_and_end_without_a_newline() -> None:
    texts = [one.text for one in generate_stories(200_000, seed=5)]
    characters = set("".join(texts))
    assert len(characters) < 60
    assert all(c in ' \n.,?"' or (c.isascii() and c.isalpha()) for c in characters)
    assert all(text.endswith(".") for text in texts)
