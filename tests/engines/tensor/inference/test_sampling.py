"""Sampling on the device gives the tokens of `engines.generation.decoding`."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sampling_cases import LOGIT_LISTS, SAMPLE_SETTINGS, depends_on_rounding

from engines.generation.decoding import sample_token, softmax
from engines.settings.sample import SampleSettings
from engines.tensor.inference.sampling import PendingSamples, sample_tokens


@settings(deadline=None, max_examples=300)
@given(logits=LOGIT_LISTS, how=SAMPLE_SETTINGS, uniform=st.floats(0.0, 1.0, exclude_max=True))
def test_the_device_samples_the_same_token_as_the_host(
    logits: list[float], how: SampleSettings, uniform: float
) -> None:
    uniform = float(torch.tensor(uniform, dtype=torch.float32))
    assume(uniform < 1.0 and not depends_on_rounding(logits, how, uniform))
    token, probability, *alternatives = sample_on_device(logits, how, uniform)
    probabilities = softmax(logits, 1.0)
    assert token == sample_token(logits, how, uniform)
    assert probability == pytest.approx(probabilities[int(token)])
    half = len(alternatives) // 2
    assert half == min(5, len(logits))
    assert alternatives[half:] == pytest.approx(sorted(probabilities, reverse=True)[:half])
    assert [probabilities[int(i)] for i in alternatives[:half]] == pytest.approx(alternatives[half:])


def sample_on_device(
    logits: list[float], how: SampleSettings, uniform: float, dtype: torch.dtype = torch.float64
) -> list[float]:
    tensor = torch.tensor([logits], dtype=dtype)
    tokens = sample_tokens(tensor, how, torch.tensor([uniform]))
    ((found,),) = PendingSamples(tensor.unsqueeze(0), tokens.unsqueeze(0)).wait()
    alternatives, their_probabilities = zip(*found.alternatives, strict=True)
    return [found.id, found.probability, *alternatives, *their_probabilities]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.0, 1e-310, 1e-40, 1e-4, 1e38, 1e308])
def test_extreme_temperatures_sample_a_valid_token(dtype: torch.dtype, temperature: float) -> None:
    logits = [-3.0, 14.9, 15.0, 2.0]
    token, probability, *_ = sample_on_device(logits, SampleSettings(temperature=temperature), 0.9, dtype)
    assert token == (2 if temperature < 1 else sample_token(logits, SampleSettings(temperature=temperature), 0.9))
    assert probability == pytest.approx(softmax(logits, 1.0)[int(token)], rel=1e-5)


def test_ties_are_broken_as_on_the_host() -> None:
    logits = [0.0] * 40 + [1.0] * 40
    for uniform in (0.0, 0.3, 0.9):
        for how in (
            SampleSettings(top_k=1),
            SampleSettings(temperature=0.0),
            SampleSettings(top_p=0.001),
            SampleSettings(top_k=7),
        ):
            assert sample_on_device(logits, how, uniform)[0] == sample_token(logits, how, uniform)


def test_each_row_uses_its_own_random_number() -> None:
    logits = torch.zeros(3, 4)
    assert sample_tokens(logits, SampleSettings(), torch.tensor([0.1, 0.6, 0.9])).tolist() == [0, 2, 3]
