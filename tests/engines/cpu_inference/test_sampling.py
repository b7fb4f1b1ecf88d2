"""Sampling with numpy gives the tokens of `engines.generation.decoding`."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sampling_cases import LOGIT_LISTS, SAMPLE_SETTINGS, depends_on_rounding

from engines.cpu_inference.sampling import sample_token
from engines.generation import decoding
from engines.generation.decoding import softmax
from engines.interfaces import SampledToken
from engines.random_stream import RandomStream
from engines.settings.sample import SampleSettings


def sample(
    logits: list[float], how: SampleSettings, uniform: float, dtype: type[np.floating] = np.float64
) -> SampledToken:
    return sample_token(np.array(logits, dtype), how, uniform)


@settings(deadline=None, max_examples=300)
@given(logits=LOGIT_LISTS, how=SAMPLE_SETTINGS, uniform=st.floats(0.0, 1.0, exclude_max=True))
def test_numpy_samples_the_same_token_as_python(logits: list[float], how: SampleSettings, uniform: float) -> None:
    assume(not depends_on_rounding(logits, how, uniform))
    check_as_in_python(logits, how, uniform)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from([60, 63, 64, 65, 200, 1500]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    how=SAMPLE_SETTINGS,
    top_k=st.sampled_from([0, 5, 64, 100, 500]),
    uniform=st.floats(0.0, 1.0, exclude_max=True),
)
def test_large_vocabularies_are_sampled_as_in_python(
    seed: int, size: int, scale: float, how: SampleSettings, top_k: int, uniform: float
) -> None:
    random = RandomStream(seed)
    how = dataclasses.replace(how, top_k=top_k)
    logits = [round(scale * random.uniform(-4.0, 4.0), 1) for _ in range(size)]  # some are equal
    assume(not depends_on_rounding(logits, how, uniform))
    check_as_in_python(logits, how, uniform)


def check_as_in_python(logits: list[float], how: SampleSettings, uniform: float) -> None:
    found = sample(logits, how, uniform)
    probabilities = softmax(logits, 1.0)
    assert found.id == decoding.sample_token(logits, how, uniform)
    assert found.probability == pytest.approx(probabilities[found.id])
    likeliest = sorted(range(len(logits)), key=lambda token: -logits[token])[:5]
    assert [token for token, _ in found.alternatives] == likeliest
    assert [p for _, p in found.alternatives] == pytest.approx([probabilities[token] for token in likeliest])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0.0, 1e-310, 1e-40, 1e-4, 1e38, 1e308])
def test_extreme_temperatures_sample_a_valid_token(dtype: type[np.floating], temperature: float) -> None:
    logits = [-3.0, 14.9, 15.0, 2.0]
    found = sample(logits, SampleSettings(temperature=temperature), 0.9, dtype)
    assert found.id == 2 or temperature > 1  # where all are equally likely
    assert found.probability == pytest.approx(softmax(logits, 1.0)[found.id], rel=1e-5)


def test_ties_are_broken_as_in_python() -> None:
    logits = [0.0] * 100 + [1.0] * 100
    for uniform in (0.0, 0.3, 0.9):
        for how in (SampleSettings(top_k=1), SampleSettings(top_p=0.001), SampleSettings(top_k=7), SampleSettings()):
            assert sample(logits, how, uniform).id == decoding.sample_token(logits, how, uniform)
