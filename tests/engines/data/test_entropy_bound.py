"""The entropy bound of exactly the text that is scored, also if --eval-tokens cuts a document."""

import math
from array import array
from itertools import islice, pairwise
from pathlib import Path

import pytest
from builders import make_run
from lagging import Rig

from engines.data.entropy_bound import EntropyBound, EntropyBoundEstimator, stories_entropy_bound
from engines.data.prepare import PreparedData, prepare
from engines.data.stories.grammar import StoryGrammar, generate_stories
from engines.data.stories.prefixes import prefix_nats
from engines.data.stories.word_lists import OptionSet
from engines.data.tokenizers import BOS, ByteTokenizer
from engines.settings.resolve import resolve


@pytest.fixture(scope="module")
def data() -> PreparedData:
    return prepare(resolve({"data": "stories", "corpus_size": 100_000}), lambda activity, done, total: None)


def estimate_bound(*documents: tuple[float | None, int]) -> EntropyBound | None:
    """Return the bound of documents, given by their nats and bytes."""
    estimator = EntropyBoundEstimator()
    for nats, size in documents:
        estimator.add(nats, size)
    return estimator.estimate()


def test_the_bound_is_per_byte_with_the_error_of_a_ratio_estimator() -> None:
    assert estimate_bound((1.0, 2), (2.0, 4), (3.0, 6)) == pytest.approx((0.5 / math.log(2), 0.0))  # equal ratios
    expected = (0.5 / math.log(2), math.sqrt(2 * 3 / 2) / 12 / math.log(2))
    assert estimate_bound((1.0, 4), (3.0, 4), (2.0, 4)) == pytest.approx(expected)
    assert estimate_bound((1.0, 4), (3.0, 4)) == pytest.approx((0.7213, 0.3607), abs=1e-4)


def test_one_document_or_unknown_information_gives_no_bound() -> None:
    assert estimate_bound((1.0, 4)) is None and estimate_bound((1.0, 4), (None, 4), (3.0, 4)) is None


def test_the_bound_of_stories_is_plausible(data: PreparedData) -> None:
    bound = data.packed.entropy_bound
    assert bound and 0.2 < bound.bpb < 0.5 and 0 < bound.error < 0.05


def test_a_whole_story_has_the_information_of_its_generation() -> None:
    for story in islice(generate_stories(20_000, 1), 20):
        assert prefix_nats(story.text) == pytest.approx(story.nats, rel=1e-12)


def test_the_information_of_a_prefix_never_decreases_with_its_length() -> None:
    text = next(generate_stories(1_000, 3)).text
    nats = [prefix_nats(text[:end]) for end in range(len(text) + 1)]
    assert nats[0] == 0.0 and all(after >= before - 1e-9 for before, after in pairwise(nats))


class FirstOptions:
    """A chooser that records the first choice with more than one option, and the text before it."""

    def __init__(self) -> None:
        self.text = ""
        self.options: OptionSet | None = None

    def literal(self, text: str) -> None:
        self.text += text

    def choose(self, options: OptionSet) -> int:
        if self.options is None and len(options.texts) > 1:
            self.options = options
            raise StopIteration
        self.text += options.texts[0]
        return 0


def test_a_partial_choice_has_the_probability_of_all_matching_options() -> None:
    walk = FirstOptions()
    with pytest.raises(StopIteration):
        StoryGrammar(walk).run()  # type: ignore[arg-type]
    assert walk.options
    before, total = prefix_nats(walk.text), walk.options.bounds[-1]
    letters = {text[0] for text in walk.options.texts}
    for letter in letters:
        fitting = [i for i, text in enumerate(walk.options.texts) if text[0] == letter]
        probability = sum(walk.options.choice(i).weight for i in fitting) / total
        assert prefix_nats(walk.text + letter) - before == pytest.approx(-math.log(probability), abs=1e-12)


def test_the_bound_of_all_tokens_is_that_of_the_validation_text(data: PreparedData) -> None:
    assert stories_entropy_bound(data.packed.val, data.tokenizer) == pytest.approx(data.packed.entropy_bound, rel=1e-9)


def test_the_bound_of_cut_text_covers_exactly_the_scored_text(data: PreparedData) -> None:
    tokens = data.packed.val[:2001]
    found = stories_entropy_bound(tokens, data.tokenizer)
    documents = "".join("\0" if token == BOS else data.tokenizer.decode_token(token) for token in tokens).split("\0")[
        1:
    ]
    nats = sum(map(prefix_nats, documents))
    assert found and found.bpb == pytest.approx(nats / math.log(2) / sum(map(len, documents)), rel=1e-12)
    assert found.bpb != data.packed.entropy_bound.bpb if data.packed.entropy_bound else False


def test_text_that_is_not_stories_has_no_bound() -> None:
    tokens = array("B", [BOS, *ByteTokenizer().encode("Once upon a time"), BOS, *ByteTokenizer().encode("no story")])
    assert stories_entropy_bound(memoryview(tokens), ByteTokenizer()) is None


def test_an_evaluation_reports_the_bound_of_the_scored_text(tmp_path: Path) -> None:
    run = make_run(tmp_path, data="stories", corpus_size=60_000, eval_tokens=1500, steps=1, eval_every=0)
    found = Rig(run, 0)
    found.train()
    event = found.history.evals[-1]
    scored = found.data.packed.val[:1501]
    expected = stories_entropy_bound(scored, found.data.tokenizer)
    assert expected and (event["floor_bpb"], event["floor_error"]) == expected
    assert event["floor_bpb"] != run_floor(found) and event["bytes"] < 1501


def run_floor(found: Rig) -> float:
    floor = found.data.packed.entropy_bound
    assert floor
    return floor.bpb
