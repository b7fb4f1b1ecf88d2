"""Generation with a KV cache: the same tokens as without one, sampled as `decoding` samples."""

import gc
import itertools
import weakref
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import SWITCHES, V, build_random_gpt, gpt_settings, random_rows

from engines.data.tokenizers import BOS, CharTokenizer
from engines.generation.decoding import softmax
from engines.generation.sampling import generate
from engines.settings.sample import SampleSettings
from engines.tensor import factory
from engines.tensor.devices import resolve_device
from engines.tensor.inference import captured_decode
from engines.tensor.inference.decoder import CachedDecoder
from engines.tensor.inference.fuse import fuse_for_inference
from engines.tensor.models.gpt import GPT

LIKELIEST = SampleSettings(top_k=1)
PROMPTS = [[BOS], [BOS, 7, 7, 3, 21], [4, 9, BOS, 12, 8, 30, 2, 2, 11]]  # each may meet the context's end elsewhere

every_switch = pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(switches) or "defaults")


def decoder_of(model: GPT, prompts: list[list[int]]) -> CachedDecoder:
    decoder = model.decoder(prompts)
    assert isinstance(decoder, CachedDecoder)
    return decoder


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
    cached = decoder_of(model, prompts)
    whole = [Whole(model, prompt) for prompt in prompts]
    generated = []
    for step in range(count):
        found = cached.sample(LIKELIEST, [0.5] * len(prompts))
        expected = [text.likeliest() for text in whole]
        assert [drawn.id for drawn in found] == [token for token, _ in expected], f"token {step}"
        assert [drawn.probability for drawn in found] == pytest.approx([p for _, p in expected], rel=1e-9)
        tokens = [row[step] for row in forced] if forced else [drawn.id for drawn in found]
        generated += tokens
        cached.read(tokens)
        for text, token in zip(whole, tokens, strict=True):
            text.read(token)
    return generated


@every_switch
def test_the_likeliest_text_is_that_of_the_model_without_a_cache(switches: dict[str, Any]) -> None:
    generated = assert_same(build_random_gpt(gpt_settings(**switches)), PROMPTS, 30)
    assert len(set(generated)) > 3


@every_switch
def test_any_text_is_read_as_by_the_model_without_a_cache(switches: dict[str, Any]) -> None:
    forced = random_rows(3, 30, vocab_size=5, seed=3)  # every fifth token is a BOS
    assert_same(build_random_gpt(gpt_settings(**switches)), PROMPTS, 30, forced)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_contexts_have_an_end_too(length: int) -> None:
    how = {"context_length": length, "document_mask": True, "window_pattern": "S", "window": 1}
    assert_same(build_random_gpt(gpt_settings(**how)), [[BOS], [5]], 8, random_rows(2, 8, vocab_size=3))


@pytest.mark.parametrize("length", [11, 12, 13, 40])
def test_a_prompt_may_fill_the_context_or_be_longer(length: int) -> None:
    assert_same(build_random_gpt(gpt_settings()), [random_rows(1, length)[0], [BOS, 3]], 8)


@settings(deadline=None, max_examples=15)
@given(
    prompts=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=20), min_size=1, max_size=4),
    switches=st.sampled_from(SWITCHES),
    seed=st.integers(0, 99),
)
def test_prompts_of_different_lengths_are_decoded_in_one_batch(
    prompts: list[list[int]], switches: dict[str, Any], seed: int
) -> None:
    assert_same(
        build_random_gpt(gpt_settings(**switches), seed=seed), prompts, 9, random_rows(len(prompts), 9, 7, seed)
    )


def test_a_prompt_is_not_changed_by_what_is_read_after_it() -> None:
    prompt = [BOS, 3, 4]
    decoder = decoder_of(build_random_gpt(gpt_settings()), [prompt, prompt])
    decoder.read([1, 2])
    assert prompt == [BOS, 3, 4]


@every_switch
def test_equal_prompts_are_read_once(switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_random_gpt(gpt_settings(**switches))
    hidden_states = Mock(wraps=model.hidden_states)
    monkeypatch.setattr(GPT, "hidden_states", hidden_states)
    prompts = [[BOS, 7, 7, BOS, 3], [BOS, 2], [BOS, 7, 7, BOS, 3], [BOS, 7, 7, BOS, 3]]
    decoder_of(model, prompts)
    assert len(hidden_states.call_args.args[0]) == 2
    monkeypatch.undo()
    assert_same(model, prompts, 20)


def test_samples_of_a_gpt_drawn_side_by_side_are_those_drawn_alone() -> None:
    tokenizer = CharTokenizer("".join(chr(97 + i) for i in range(V - 1)))
    how = SampleSettings(prompt="abc", max_new_tokens=20, temperature=1.5)
    model = build_random_gpt(gpt_settings(softcap=3.0))
    together = list(generate(model, tokenizer, how, (0, 1, 5)))
    for sample in (0, 1, 5):
        alone = list(generate(model, tokenizer, how, (sample,)))
        batched = [token for token in together if token.sample == sample]
        assert [token.id for token in batched] == [token.id for token in alone]
        assert [token.probability for token in batched] == pytest.approx([token.probability for token in alone])


# --- one decoder after the other ------------------------------------------------------------------


@every_switch
def test_the_next_decoder_reuses_the_cache_and_uses_the_current_weights(
    switches: dict[str, Any],
) -> None:
    model = build_random_gpt(gpt_settings(**switches))
    decoder_of(model, PROMPTS).sample(LIKELIEST, [0.5] * 3)
    state = model.make_decoder.spare_state
    for layer in state.cache.values:
        layer.fill_(float("nan"))
    for parameter in model.weights.values():
        parameter += 0.01
    assert_same(model, PROMPTS[::-1], 20)
    assert model.make_decoder.spare_state is state


def test_decoders_of_the_same_time_or_of_other_sizes_have_rooms_of_their_own() -> None:
    model = build_random_gpt(gpt_settings())
    decoder_of(model, PROMPTS)
    first, second = decoder_of(model, PROMPTS), decoder_of(model, PROMPTS)
    expected = second.sample(LIKELIEST, [0.5] * 3)
    first.read([1, 2, 3])
    second.read([one.id for one in expected])
    first.read([4, 5, 6])
    assert second.sample(LIKELIEST, [0.5] * 3) != first.sample(LIKELIEST, [0.5] * 3)
    assert decoder_of(model, PROMPTS).sample(LIKELIEST, [0.5] * 3) == expected
    del first, second
    assert_same(model, PROMPTS[:2], 5)


def test_a_turn_is_recorded_once_for_decoders_that_follow_each_other_and_holds_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded = Mock(return_value=lambda: None)
    monkeypatch.setattr(captured_decode, "GraphedCallable", lambda work, example: recorded())
    model = build_random_gpt(gpt_settings())
    gc.disable()
    try:
        for _ in range(2):
            decoder = decoder_of(model, PROMPTS)
            list(decoder.stream_ahead(LIKELIEST, iter([[0.5] * 3] * 5)))
            gone = weakref.ref(decoder)
            del decoder
            assert gone() is None
    finally:
        gc.enable()
    assert recorded.call_count == 1


# --- many tokens at a time ------------------------------------------------------------------------


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run steps where a GPU would replay a graph; cuda/test_decoding.py tests the graphs."""
    monkeypatch.setattr(captured_decode, "GraphedCallable", lambda work, example: work)


@every_switch
@pytest.mark.usefixtures("unrecorded")
def test_the_device_left_alone_draws_what_it_draws_token_by_token(switches: dict[str, Any]) -> None:
    model = build_random_gpt(gpt_settings(**switches))
    how = SampleSettings(temperature=1.3)
    uniforms = [[(7 * turn + 3 * row) % 10 / 10 for row in range(3)] for turn in range(40)]
    by_itself = list(decoder_of(model, PROMPTS).stream_ahead(how, iter(uniforms)))
    assert by_itself == list(decoder_of(model, PROMPTS).stream(how, uniforms))
    assert len(by_itself) == 40 > 3 * model.context_length


def test_the_first_token_does_not_wait_for_a_turn_to_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Mock(side_effect=lambda work, example: work)
    monkeypatch.setattr(captured_decode, "GraphedCallable", recorded)
    stream = decoder_of(build_random_gpt(gpt_settings()), PROMPTS).stream_ahead(LIKELIEST, itertools.repeat([0.5] * 3))
    next(stream)
    assert not recorded.called
    next(stream)
    assert recorded.called


@pytest.mark.usefixtures("unrecorded")
def test_a_stream_goes_on_where_one_of_other_settings_ended() -> None:
    model = build_random_gpt(gpt_settings(context_length=60))
    ahead, plain = decoder_of(model, PROMPTS), decoder_of(model, PROMPTS)
    uniforms = [[0.2, 0.5, 0.9]] * 18
    for how in (SampleSettings(temperature=2.0), LIKELIEST, SampleSettings(temperature=0.0), SampleSettings(top_k=3)):
        expected = []
        for numbers in uniforms:
            expected.append(plain.sample(how, numbers))
            plain.read([one.id for one in expected[-1]])
        assert list(ahead.stream_ahead(how, iter(uniforms))) == expected


@pytest.mark.usefixtures("unrecorded")
def test_no_more_is_drawn_than_there_are_numbers_for() -> None:
    decoder = decoder_of(build_random_gpt(gpt_settings()), [[BOS]])
    assert list(decoder.stream_ahead(LIKELIEST, iter([]))) == []
    assert len(list(decoder.stream_ahead(LIKELIEST, iter([[0.5]] * 3)))) == 3


def test_a_bfloat16_model_decodes_in_float32_on_a_cpu_with_nearly_the_same_scores() -> None:
    exact = build_random_gpt(gpt_settings())
    settings = gpt_settings(dtype="bfloat16")
    weights = {name: weight.float() for name, weight in exact.weights.items()}
    coarse = factory.build_model(settings, V, weights, resolve_device(settings))
    assert fuse_for_inference(coarse).dtype == torch.float32 and coarse.dtype == torch.bfloat16
    found, expected = (
        decoder_of(model, [[BOS, 7, 7, 3, 21]]).sample(LIKELIEST, [0.5])[0].probability for model in (coarse, exact)
    )
    assert found == pytest.approx(expected, rel=1e-4)
