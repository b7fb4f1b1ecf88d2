"""Sampling and evaluation: draws follow the probabilities, and bits per byte is what its definition says."""

import math
from array import array
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.config import SampleSettings
from engines.data.tokenizers import BOS, CharTokenizer
from engines.errors import LabError
from engines.evaluation import evaluate
from engines.random_stream import RandomStream
from engines.sampling import documents, draw, generate, softmax


class Fixed:
    """A model that always says the same."""

    parameter_count = 0

    def __init__(self, *probabilities: float, context_length: int = 1) -> None:
        self._logits = [math.log(p) if p else -math.inf for p in probabilities]
        self.context_length = context_length
        self.contexts: list[Sequence[int]] = []

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        self.contexts.append(context)
        return self._logits

    def score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[-self._logits[target] for target in row[1:]] for row in rows]


def drawn(logits: Sequence[float], count: int = 20_000, **how: float) -> Counter[int]:
    stream = RandomStream(5)
    return Counter(draw(logits, SampleSettings(**how), stream) for _ in range(count))  # type: ignore[arg-type]


LOGITS = [math.log(p) for p in (0.5, 0.3, 0.15, 0.05)]


def test_draws_follow_the_probabilities() -> None:
    counts = drawn(LOGITS, temperature=1.0)
    assert [round(counts[i] / 20_000, 1) for i in range(2)] == [0.5, 0.3]


def test_temperature_sharpens_and_flattens() -> None:
    assert drawn(LOGITS, temperature=0.01) == {0: 20_000}
    assert all(abs(count - 5000) < 400 for count in drawn(LOGITS, temperature=1e6).values())


def test_top_k_and_top_p_cut_the_tail() -> None:
    assert set(drawn(LOGITS, temperature=1.0, top_k=2)) == {0, 1}
    assert set(drawn(LOGITS, temperature=1.0, top_p=0.6)) == {0, 1}
    assert set(drawn(LOGITS, temperature=1.0, top_p=0.5)) == {0}


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20),
    st.floats(1e-310, 1e308, exclude_min=True),
    st.integers(0, 25),
    st.floats(0.0, 1.0, exclude_min=True),
)
def test_no_temperature_or_cut_however_extreme_fails(logits: list[float], t: float, top_k: int, top_p: float) -> None:
    how = SampleSettings(temperature=t, top_k=top_k, top_p=top_p)
    assert 0 <= draw(logits, how, RandomStream(1)) < len(logits)


def test_a_sample_ends_with_the_document_or_at_its_length() -> None:
    tokenizer = CharTokenizer("ab")
    endless = list(generate(Fixed(0.0, 0.5, 0.5), tokenizer, SampleSettings(max_new_tokens=30)))
    assert len(endless) == 30 and {token.text for token in endless} == {"a", "b"}
    (end,) = generate(Fixed(1.0, 0.0, 0.0), tokenizer, SampleSettings())
    assert end.id == BOS and end.text == "" and end.probability == 1.0


def test_a_sample_is_a_function_of_its_seed_and_index() -> None:
    def text(index: int, **how: int) -> str:
        return "".join(
            t.text for t in generate(Fixed(0.0, 0.5, 0.5), CharTokenizer("ab"), SampleSettings(**how), index)
        )

    assert text(0) == text(0) and len({text(0), text(1), text(0, seed=2)}) == 3


def test_the_model_sees_no_more_than_its_context() -> None:
    model = Fixed(0.0, 0.5, 0.5, context_length=4)
    list(generate(model, CharTokenizer("ab"), SampleSettings(prompt="aba", max_new_tokens=6)))
    assert model.contexts[0] == [BOS, 1, 2, 1] and {len(context) for context in model.contexts} == {4}


def test_documents_fill_their_length_unless_there_is_a_prompt() -> None:
    model = Fixed(0.5, 0.25, 0.25)
    assert documents(model, CharTokenizer("ab"), SampleSettings(max_new_tokens=40)).count("\n") > 5
    assert "\n" not in documents(model, CharTokenizer("ab"), SampleSettings(max_new_tokens=40, prompt="a"))


def test_bits_per_byte_counts_the_texts_bytes_and_no_ends() -> None:
    tokenizer = CharTokenizer("aé")  # 1 and 2 bytes
    tokens = memoryview(array("B", [BOS, 1, 2, BOS, 2]))
    result = evaluate(Fixed(0.5, 0.25, 0.25), tokens, tokenizer.token_bytes, 2, 0, lambda: None)
    assert result.tokens == 4 and result.bytes == 1 + 2 + 2
    assert result.loss == pytest.approx((3 * math.log(4) + math.log(2)) / 4)
    assert result.bpb == pytest.approx(3 * 2 / 5)  # three characters of two bits over five bytes


@given(length=st.integers(2, 40), context=st.integers(1, 9), limit=st.integers(0, 50))
def test_every_token_is_scored_once(length: int, context: int, limit: int) -> None:
    tokens = memoryview(array("B", [1] * length))
    result = evaluate(Fixed(0.5, 0.5), tokens, [0, 1], context, limit, lambda: None)
    assert result.tokens == result.bytes == min(length - 1, limit or length)


def test_an_unknown_character_in_the_prompt_is_told_before_anything_is_drawn() -> None:
    with pytest.raises(LabError, match="character 'x' at position 1"):
        generate(Fixed(0.5, 0.5), CharTokenizer("a"), SampleSettings(prompt="ax"))


def test_a_token_tells_the_models_own_probabilities_whatever_the_temperature() -> None:
    tokenizer = CharTokenizer("abcdef")
    model = Fixed(0.0, 0.4, 0.3, 0.1, 0.1, 0.06, 0.04)
    (token,) = generate(model, tokenizer, SampleSettings(temperature=0.001, max_new_tokens=1))
    assert token.text == "a" and token.probability == pytest.approx(0.4)
    assert [text for text, _ in token.alternatives] == ["a", "b", "c", "d", "e"]
    assert [p for _, p in token.alternatives] == pytest.approx([0.4, 0.3, 0.1, 0.1, 0.06])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=12), st.floats(0.05, 20), st.floats(-1000, 1000))
def test_a_softmax_is_a_distribution_that_a_shift_does_not_change(logits: list[float], t: float, shift: float) -> None:
    found = softmax(logits, t)
    assert math.fsum(found) == pytest.approx(1.0) and min(found) >= 0.0
    assert softmax([x + shift for x in logits], t) == pytest.approx(found, abs=1e-9)


def test_a_nucleus_is_measured_after_the_top_k() -> None:
    # of the two likeliest, 0.5 and 0.3, the first holds 62.5 %
    assert set(drawn(LOGITS, temperature=1.0, top_k=2, top_p=0.62)) == {0}
    assert set(drawn(LOGITS, temperature=1.0, top_k=2, top_p=0.63)) == {0, 1}


def test_no_tokens_asked_for_is_no_text() -> None:
    nothing = SampleSettings(max_new_tokens=0)
    assert list(generate(Fixed(0.5, 0.5), CharTokenizer("a"), nothing)) == []
    assert documents(Fixed(0.5, 0.5), CharTokenizer("a"), nothing) == ""
