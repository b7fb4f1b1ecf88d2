"""Sampled tokens follow the probabilities for all settings; the decoder passes only its context to the model."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.generation.decoding import FullContextDecoder, sample_token, softmax
from engines.random_stream import RandomStream
from engines.settings.sample import SampleSettings

LOGITS = [math.log(p) for p in (0.5, 0.3, 0.15, 0.05)]


def drawn(logits: Sequence[float], count: int = 20_000, **how: float) -> Counter[int]:
    stream = RandomStream(5)
    return Counter(sample_token(logits, SampleSettings(**how), stream.unit()) for _ in range(count))  # type: ignore[arg-type]


def test_sampled_tokens_follow_the_probabilities() -> None:
    counts = drawn(LOGITS, temperature=1.0)
    assert [round(counts[i] / 20_000, 1) for i in range(2)] == [0.5, 0.3]


def test_a_number_between_0_and_1_selects_the_token_whose_interval_contains_it() -> None:
    numbers = (0.0, 0.49, 0.51, 0.79, 0.81, 0.94, 0.96, 1.0 - 2.0**-53)
    assert [sample_token(LOGITS, SampleSettings(temperature=1.0), number) for number in numbers] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]


def test_temperature_sharpens_and_flattens() -> None:
    assert drawn(LOGITS, temperature=0.01) == {0: 20_000}
    assert all(abs(count - 5000) < 400 for count in drawn(LOGITS, temperature=1e6).values())


@pytest.mark.parametrize("others", [{}, {"top_k": 3}, {"top_p": 0.2}])
def test_temperature_0_chooses_the_likeliest_token_and_the_first_of_equals(others: dict[str, float]) -> None:
    for number in (0.0, 0.5, 1.0 - 2.0**-53):
        how = SampleSettings(temperature=0.0, **others)  # type: ignore[arg-type]
        assert (
            sample_token([-1.0, 3.0, 3.0, 2.9999], how, number) == 1
            and sample_token([-1e300, -1e301], how, number) == 0
        )


def test_top_k_and_top_p_cut_the_tail() -> None:
    assert set(drawn(LOGITS, temperature=1.0, top_k=2)) == {0, 1}
    assert set(drawn(LOGITS, temperature=1.0, top_p=0.6)) == {0, 1}
    assert set(drawn(LOGITS, temperature=1.0, top_p=0.5)) == {0}


def test_a_nucleus_is_measured_after_the_top_k() -> None:
    # of the two likeliest, 0.5 and 0.3, the first holds 62.5 %
    assert set(drawn(LOGITS, temperature=1.0, top_k=2, top_p=0.62)) == {0}
    assert set(drawn(LOGITS, temperature=1.0, top_k=2, top_p=0.63)) == {0, 1}


@given(
    logits=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20),
    t=st.floats(1e-310, 1e308, exclude_min=True),
    top_k=st.integers(0, 25),
    top_p=st.floats(0.0, 1.0, exclude_min=True),
    uniform=st.floats(0.0, 1.0, exclude_max=True),
)
def test_no_temperature_or_cut_however_extreme_fails(
    logits: list[float], t: float, top_k: int, top_p: float, uniform: float
) -> None:
    how = SampleSettings(temperature=t, top_k=top_k, top_p=top_p)
    assert 0 <= sample_token(logits, how, uniform) < len(logits)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=12), st.floats(0.05, 20), st.floats(-1000, 1000))
def test_a_softmax_is_a_distribution_that_a_shift_does_not_change(logits: list[float], t: float, shift: float) -> None:
    found = softmax(logits, t)
    assert math.fsum(found) == pytest.approx(1.0) and min(found) >= 0.0
    assert softmax([x + shift for x in logits], t) == pytest.approx(found, abs=1e-9)


class Successor:
    """A model that is nearly sure of the last token's successor among five, and keeps what it was asked."""

    def __init__(self) -> None:
        self.contexts: list[list[int]] = []

    def logits(self, context: Sequence[int]) -> list[float]:
        self.contexts.append(list(context))
        return [20.0 if token == (context[-1] + 1) % 5 else 0.0 for token in range(5)]


def test_each_row_continues_its_own_text() -> None:
    decoder = FullContextDecoder([Successor().logits] * 2, 3, [[1], [0, 3]])
    texts: list[list[int]] = [[], []]
    for _ in range(3):
        found = [drawn.id for drawn in decoder.sample_tokens(SampleSettings(), [0.5, 0.5])]
        decoder.append_tokens(found)
        for text, token in zip(texts, found, strict=True):
            text.append(token)
    assert texts == [[2, 3, 4], [4, 0, 1]]


def test_a_full_context_decoder_passes_the_last_tokens_that_fit() -> None:
    model = Successor()
    decoder = FullContextDecoder([model.logits], 3, [[4, 3, 2, 1]])
    decoder.sample_tokens(SampleSettings(), [0.5])
    decoder.append_tokens([0])
    decoder.sample_tokens(SampleSettings(), [0.5])
    assert model.contexts == [[3, 2, 1], [2, 1, 0]]


def test_sampling_a_token_does_not_append_it() -> None:
    decoder = FullContextDecoder([Successor().logits], 3, [[1]])
    assert decoder.sample_tokens(SampleSettings(), [0.5]) == decoder.sample_tokens(SampleSettings(), [0.5])


def test_probabilities_of_a_sampled_token_do_not_depend_on_the_temperature() -> None:
    probabilities = [0.04, 0.4, 0.3, 0.1, 0.1, 0.06]
    decoder = FullContextDecoder([lambda context: [math.log(p) for p in probabilities]], 1, [[0]])
    (found,) = decoder.sample_tokens(SampleSettings(temperature=0.001, top_k=1), [0.99])
    assert found.id == 1 and found.probability == pytest.approx(0.4)
    assert [token for token, _ in found.alternatives] == [1, 2, 3, 4, 5]
    assert [p for _, p in found.alternatives] == pytest.approx([0.4, 0.3, 0.1, 0.1, 0.06])
