"""Generation with a KV cache: the same tokens as without one, sampled as `decoding` samples."""

import gc
import itertools
import weakref
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import SWITCHES, V, build_random_gpt, gpt_settings, random_rows

from engines.data.tokenizers import BOS, CharTokenizer
from engines.generation.decoding import softmax
from engines.generation.sampling import generate
from engines.settings.sample import SampleSettings
from engines.settings.train import TrainSettings
from engines.tensor.inference import captured_decode
from engines.tensor.inference.decoder import CachedDecoder, CachedDecoding
from engines.tensor.models.gpt import GPT

GREEDY = SampleSettings(top_k=1)
PROMPTS = [[BOS], [BOS, 7, 7, 3, 21], [4, 9, BOS, 12, 8, 30, 2, 2, 11]]  # the context is full at another step for each

every_switch = pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "-".join(switches) or "defaults")


def build_gpt(settings: TrainSettings, seed: int = 1) -> GPT:
    """Build a gpt that decodes on the CPU as on other devices."""
    model = build_random_gpt(settings, seed=seed)
    model.make_decoder = CachedDecoding()
    return model


def build_decoder(model: GPT, prompts: list[list[int]]) -> CachedDecoder:
    decoder = model.decoder(prompts)
    assert isinstance(decoder, CachedDecoder)
    return decoder


class FullContext:
    """A text that is read without a cache for every token."""

    def __init__(self, model: GPT, prompt: list[int]) -> None:
        self._model = model
        self._text = prompt
        self._cut()

    def predict(self) -> tuple[int, float]:
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


def assert_decoded_as_without_cache(
    model: GPT, prompts: list[list[int]], count: int, forced: list[list[int]] | None = None
) -> list[int]:
    """Compare both ways for `count` tokens, the most likely or the forced ones. Return the tokens of all rows."""
    cached = build_decoder(model, prompts)
    uncached = [FullContext(model, prompt) for prompt in prompts]
    generated = []
    for step in range(count):
        found = cached.sample(GREEDY, [0.5] * len(prompts))
        expected = [text.predict() for text in uncached]
        assert [sampled.id for sampled in found] == [token for token, _ in expected], f"token {step}"
        assert [sampled.probability for sampled in found] == pytest.approx([p for _, p in expected], rel=1e-9)
        tokens = [row[step] for row in forced] if forced else [sampled.id for sampled in found]
        generated += tokens
        cached.read(tokens)
        for text, token in zip(uncached, tokens, strict=True):
            text.read(token)
    return generated


@every_switch
def test_greedy_decoding_equals_the_model_without_a_cache(switches: dict[str, Any]) -> None:
    generated = assert_decoded_as_without_cache(build_gpt(gpt_settings(**switches)), PROMPTS, 30)
    assert len(set(generated)) > 3


@every_switch
def test_decoding_of_given_tokens_equals_the_model_without_a_cache(switches: dict[str, Any]) -> None:
    forced = random_rows(3, 30, vocab_size=5, seed=3)  # every fifth token is a BOS
    assert_decoded_as_without_cache(build_gpt(gpt_settings(**switches)), PROMPTS, 30, forced)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_contexts_are_rolled_over(length: int) -> None:
    how = {"context_length": length, "document_mask": True, "window_pattern": "S", "window": 1}
    assert_decoded_as_without_cache(build_gpt(gpt_settings(**how)), [[BOS], [5]], 8, random_rows(2, 8, vocab_size=3))


@pytest.mark.parametrize("length", [11, 12, 13, 40])
def test_a_prompt_may_fill_the_context_or_be_longer(length: int) -> None:
    assert_decoded_as_without_cache(build_gpt(gpt_settings()), [random_rows(1, length)[0], [BOS, 3]], 8)


@settings(deadline=None, max_examples=15)
@given(
    prompts=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=20), min_size=1, max_size=4),
    switches=st.sampled_from(SWITCHES),
    seed=st.integers(0, 99),
)
def test_prompts_of_different_lengths_are_decoded_in_one_batch(
    prompts: list[list[int]], switches: dict[str, Any], seed: int
) -> None:
    assert_decoded_as_without_cache(
        build_gpt(gpt_settings(**switches), seed=seed), prompts, 9, random_rows(len(prompts), 9, 7, seed)
    )


def test_reading_tokens_does_not_change_the_prompt() -> None:
    prompt = [BOS, 3, 4]
    decoder = build_decoder(build_gpt(gpt_settings()), [prompt, prompt])
    decoder.read([1, 2])
    assert prompt == [BOS, 3, 4]


@every_switch
def test_equal_prompts_are_prefilled_once(switches: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_gpt(gpt_settings(**switches))
    hidden_states = Mock(wraps=model.hidden_states)
    monkeypatch.setattr(GPT, "hidden_states", hidden_states)
    prompts = [[BOS, 7, 7, BOS, 3], [BOS, 2], [BOS, 7, 7, BOS, 3], [BOS, 7, 7, BOS, 3]]
    build_decoder(model, prompts)
    assert len(hidden_states.call_args.args[0]) == 2
    monkeypatch.undo()
    assert_decoded_as_without_cache(model, prompts, 20)


def test_batched_samples_equal_samples_generated_one_at_a_time() -> None:
    tokenizer = CharTokenizer("".join(chr(97 + i) for i in range(V - 1)))
    how = SampleSettings(prompt="abc", max_new_tokens=20, temperature=1.5)
    model = build_gpt(gpt_settings(softcap=3.0))
    together = list(generate(model, tokenizer, how, (0, 1, 5)))
    for sample in (0, 1, 5):
        alone = list(generate(model, tokenizer, how, (sample,)))
        batched = [token for token in together if token.sample == sample]
        assert [token.id for token in batched] == [token.id for token in alone]
        assert [token.probability for token in batched] == pytest.approx([token.probability for token in alone])


# --- consecutive decoders -------------------------------------------------------------------------


@every_switch
def test_the_next_decoder_reuses_the_cache_and_uses_the_current_weights(
    switches: dict[str, Any],
) -> None:
    model = build_gpt(gpt_settings(**switches))
    build_decoder(model, PROMPTS).sample(GREEDY, [0.5] * 3)
    state = model.make_decoder.spare_state
    for layer in state.cache.values:
        layer.fill_(float("nan"))
    for parameter in model.weights.values():
        parameter += 0.01
    assert_decoded_as_without_cache(model, PROMPTS[::-1], 20)
    assert model.make_decoder.spare_state is state


def test_concurrent_decoders_and_other_batch_sizes_have_their_own_state() -> None:
    model = build_gpt(gpt_settings())
    build_decoder(model, PROMPTS)
    first, second = build_decoder(model, PROMPTS), build_decoder(model, PROMPTS)
    expected = second.sample(GREEDY, [0.5] * 3)
    first.read([1, 2, 3])
    second.read([one.id for one in expected])
    first.read([4, 5, 6])
    assert second.sample(GREEDY, [0.5] * 3) != first.sample(GREEDY, [0.5] * 3)
    assert build_decoder(model, PROMPTS).sample(GREEDY, [0.5] * 3) == expected
    del first, second
    assert_decoded_as_without_cache(model, PROMPTS[:2], 5)


def test_consecutive_decoders_share_one_captured_step_that_references_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    captures = Mock(return_value=lambda: None)
    monkeypatch.setattr(captured_decode, "GraphedCallable", lambda work, example: captures())
    model = build_gpt(gpt_settings())
    gc.disable()
    try:
        for _ in range(2):
            decoder = build_decoder(model, PROMPTS)
            list(decoder.stream_ahead(GREEDY, iter([[0.5] * 3] * 5)))
            reference = weakref.ref(decoder)
            del decoder
            assert reference() is None
    finally:
        gc.enable()
    assert captures.call_count == 1


# --- streaming ------------------------------------------------------------------------------------


@pytest.fixture
def run_without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run steps where a GPU would replay a graph; cuda/test_decoding.py tests the graphs."""
    monkeypatch.setattr(captured_decode, "GraphedCallable", lambda work, example: work)


@every_switch
@pytest.mark.usefixtures("run_without_graphs")
def test_streaming_ahead_equals_streaming_token_by_token(switches: dict[str, Any]) -> None:
    model = build_gpt(gpt_settings(**switches))
    how = SampleSettings(temperature=1.3)
    uniforms = [[(7 * step + 3 * row) % 10 / 10 for row in range(3)] for step in range(40)]
    ahead = list(build_decoder(model, PROMPTS).stream_ahead(how, iter(uniforms)))
    assert ahead == list(build_decoder(model, PROMPTS).stream(how, uniforms))
    assert len(ahead) == 40 > 3 * model.context_length


def test_the_first_token_is_returned_before_a_step_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = Mock(side_effect=lambda work, example: work)
    monkeypatch.setattr(captured_decode, "GraphedCallable", captures)
    stream = build_decoder(build_gpt(gpt_settings()), PROMPTS).stream_ahead(GREEDY, itertools.repeat([0.5] * 3))
    next(stream)
    assert not captures.called
    next(stream)
    assert captures.called


@pytest.mark.usefixtures("run_without_graphs")
def test_a_stream_with_other_settings_continues_after_the_previous_one() -> None:
    model = build_gpt(gpt_settings(context_length=60))
    ahead, plain = build_decoder(model, PROMPTS), build_decoder(model, PROMPTS)
    uniforms = [[0.2, 0.5, 0.9]] * 18
    for how in (SampleSettings(temperature=2.0), GREEDY, SampleSettings(temperature=0.0), SampleSettings(top_k=3)):
        expected = []
        for numbers in uniforms:
            expected.append(plain.sample(how, numbers))
            plain.read([one.id for one in expected[-1]])
        assert list(ahead.stream_ahead(how, iter(uniforms))) == expected


@pytest.mark.usefixtures("run_without_graphs")
def test_a_stream_ends_with_its_random_numbers() -> None:
    decoder = build_decoder(build_gpt(gpt_settings()), [[BOS]])
    assert list(decoder.stream_ahead(GREEDY, iter([]))) == []
    assert len(list(decoder.stream_ahead(GREEDY, iter([[0.5]] * 3)))) == 3
