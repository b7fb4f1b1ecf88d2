"""Generation with a cache: token for token what the model says without one, and drawn as `engines.decoding` draws."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tensors import SWITCHES, V, awake_gpt, exact_gpt, some_rows

from engines.config import SampleSettings
from engines.data.tokenizers import BOS, CharTokenizer
from engines.decoding import draw, softmax
from engines.sampling import generate
from engines.tensor.cache import _drawn
from engines.tensor.gpt import GPT

LIKELIEST = SampleSettings(top_k=1)
PROMPTS = [[BOS], [BOS, 7, 7, 3, 21], [4, 9, BOS, 12, 8, 30, 2, 2, 11]]  # each may meet the context's end elsewhere

every_switch = pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(switches) or "defaults")


class Whole:
    """One text, read from its visible beginning for every token: what a cache must equal."""

    def __init__(self, model: GPT, prompt: list[int]) -> None:
        self._model = model
        self._text = prompt
        self._cut()

    def likeliest(self) -> tuple[int, float]:
        probabilities = softmax(self._model.logits(self._text), 1.0)
        token = max(range(len(probabilities)), key=probabilities.__getitem__)
        return token, probabilities[token]

    def read(self, token: int) -> None:
        self._text = [*self._text, token]
        self._cut()

    def _cut(self) -> None:
        longest = self._model.context_length
        if len(self._text) > longest:
            self._text = self._text[-max(1, longest // 2) :]


def assert_same(model: GPT, prompts: list[list[int]], count: int, forced: list[list[int]] | None = None) -> list[int]:
    """Both ways say the same after each of `count` tokens, the likeliest ones or those forced on them; all of them."""
    cached = model.decoder(prompts)
    whole = [Whole(model, prompt) for prompt in prompts]
    said = []
    for step in range(count):
        found = cached.draw(LIKELIEST, [0.5] * len(prompts))
        expected = [text.likeliest() for text in whole]
        assert [drawn.id for drawn in found] == [token for token, _ in expected], f"token {step}"
        assert [drawn.probability for drawn in found] == pytest.approx([p for _, p in expected], rel=1e-9)
        tokens = [row[step] for row in forced] if forced else [drawn.id for drawn in found]
        said += tokens
        cached.read(tokens)
        for text, token in zip(whole, tokens, strict=True):
            text.read(token)
    return said


@every_switch
def test_the_likeliest_text_is_that_of_the_model_without_a_cache(switches: dict[str, Any]) -> None:
    said = assert_same(awake_gpt(exact_gpt(**switches)), PROMPTS, 30)
    assert len(set(said)) > 3


@every_switch
def test_any_text_is_read_as_by_the_model_without_a_cache(switches: dict[str, Any]) -> None:
    forced = some_rows(3, 30, vocab_size=5, seed=3)  # every fifth token is a BOS
    assert_same(awake_gpt(exact_gpt(**switches)), PROMPTS, 30, forced)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_contexts_have_an_end_too(length: int) -> None:
    how = {"context_length": length, "document_mask": True, "window_pattern": "S", "window": 1}
    assert_same(awake_gpt(exact_gpt(**how)), [[BOS], [5]], 8, some_rows(2, 8, vocab_size=3))


@pytest.mark.parametrize("length", [11, 12, 13, 40])
def test_a_prompt_may_fill_the_context_or_be_longer(length: int) -> None:
    assert_same(awake_gpt(exact_gpt()), [some_rows(1, length)[0], [BOS, 3]], 8)


@settings(deadline=None, max_examples=15)
@given(
    prompts=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=20), min_size=1, max_size=4),
    switches=st.sampled_from(SWITCHES),
    seed=st.integers(0, 99),
)
def test_rows_of_any_lengths_are_read_beside_each_other(
    prompts: list[list[int]], switches: dict[str, Any], seed: int
) -> None:
    assert_same(awake_gpt(exact_gpt(**switches), seed=seed), prompts, 9, some_rows(len(prompts), 9, 7, seed))


def test_a_prompt_is_not_changed_by_what_is_read_after_it() -> None:
    prompt = [BOS, 3, 4]
    decoder = awake_gpt(exact_gpt()).decoder([prompt, prompt])
    decoder.read([1, 2])
    assert prompt == [BOS, 3, 4]


def test_samples_of_a_gpt_drawn_side_by_side_are_those_drawn_alone() -> None:
    tokenizer = CharTokenizer("".join(chr(97 + i) for i in range(V - 1)))
    how = SampleSettings(prompt="abc", max_new_tokens=20, temperature=1.5)
    model = awake_gpt(exact_gpt(softcap=3.0))
    together = list(generate(model, tokenizer, how, (0, 1, 5)))
    for sample in (0, 1, 5):
        alone = list(generate(model, tokenizer, how, (sample,)))
        beside = [token for token in together if token.sample == sample]
        assert [token.id for token in beside] == [token.id for token in alone]
        assert [token.probability for token in beside] == pytest.approx([token.probability for token in alone])


# --- draws ----------------------------------------------------------------------------------------

LOGITS = st.lists(st.integers(-80, 80).map(lambda eighths: eighths / 8), min_size=1, max_size=12)
HOW = st.builds(
    SampleSettings,
    temperature=st.floats(0.05, 20.0),
    top_k=st.integers(0, 14),
    top_p=st.one_of(st.just(1.0), st.floats(0.01, 1.0)),
)


@settings(deadline=None, max_examples=300)
@given(logits=LOGITS, how=HOW, uniform=st.floats(0.0, 1.0, exclude_max=True))
def test_the_device_draws_the_token_that_the_host_draws(
    logits: list[float], how: SampleSettings, uniform: float
) -> None:
    uniform = float(torch.tensor(uniform, dtype=torch.float32))
    assume(uniform < 1.0 and not on_an_edge(logits, how, uniform))
    token, probability, *likeliest = drawn(logits, how, uniform)
    probabilities = softmax(logits, 1.0)
    assert token == draw(logits, how, uniform)
    assert probability == pytest.approx(probabilities[int(token)])
    half = len(likeliest) // 2
    assert half == min(5, len(logits))
    assert likeliest[half:] == pytest.approx(sorted(probabilities, reverse=True)[:half])
    assert [probabilities[int(i)] for i in likeliest[:half]] == pytest.approx(likeliest[half:])


def drawn(logits: list[float], how: SampleSettings, uniform: float, dtype: torch.dtype = torch.float64) -> list[float]:
    numbers: list[float] = _drawn(torch.tensor([logits], dtype=dtype), how, torch.tensor([uniform]))[0].tolist()
    return numbers


def on_an_edge(logits: list[float], how: SampleSettings, uniform: float) -> bool:
    """Whether the last bit of a sum decides what is drawn."""
    near = [
        draw(logits, SampleSettings(temperature=how.temperature, top_k=how.top_k, top_p=top_p), number)
        for number in (max(0.0, uniform - 1e-9), min(uniform + 1e-9, 1.0 - 2.0**-53))
        for top_p in (how.top_p * (1 - 1e-9), min(1.0, how.top_p * (1 + 1e-9)))
    ]
    return len(set(near)) > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-310, 1e-40, 1e-4, 1e38, 1e308])
def test_no_temperature_however_extreme_makes_a_draw_fail(dtype: torch.dtype, temperature: float) -> None:
    logits = [-3.0, 14.9, 15.0, 2.0]
    token, probability, *_ = drawn(logits, SampleSettings(temperature=temperature), 0.9, dtype)
    assert token == (2 if temperature < 1 else draw(logits, SampleSettings(temperature=temperature), 0.9))
    assert probability == pytest.approx(softmax(logits, 1.0)[int(token)], rel=1e-5)


def test_of_equally_likely_tokens_the_first_is_drawn_first() -> None:
    logits = [0.0] * 40 + [1.0] * 40
    for uniform in (0.0, 0.3, 0.9):
        for how in (SampleSettings(top_k=1), SampleSettings(top_p=0.001), SampleSettings(top_k=7)):
            assert drawn(logits, how, uniform)[0] == draw(logits, how, uniform)


def test_each_row_has_a_number_of_its_own() -> None:
    logits = torch.zeros(3, 4)
    found = _drawn(logits, SampleSettings(), torch.tensor([0.1, 0.6, 0.9]))
    assert found[:, 0].tolist() == [0, 2, 3]
