"""Generation with numpy: the logits, losses and greedy tokens of the tensor engine's full forward pass."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tensors import SWITCHES, V, build_random_gpt, gpt_settings, random_rows, score_rows

from engines.cost.parameter_shapes import parameter_shapes
from engines.cpu_inference.decoder import NumpyDecoder
from engines.cpu_inference.factory import build_model, load_model
from engines.cpu_inference.model import NumpyModel
from engines.data.tokenizers import BOS
from engines.settings.resolve import resolve
from engines.settings.sample import SampleSettings
from engines.settings.train import TrainSettings
from engines.tensor import factory
from engines.tensor.arrays import to_array
from engines.tensor.devices import resolve_device
from engines.tensor.models.base import TensorModel

GREEDY = SampleSettings(temperature=0.0)
PROMPTS = [[BOS], [BOS, 7, 7, 3, 21], [4, 9, BOS, 12, 8, 30, 2, 2, 11], [BOS, 7, 7, 3, 21], [5, 6, 7, 8, 9]]
CONTEXT = 12

SMALL = {"mode": "tensor", "device": "cpu", "dtype": "float64", "threads": 1, "tokenizer": "char"}
OTHER_MODELS: list[dict[str, Any]] = [
    {"model_kind": "mini-gpt", "context_length": CONTEXT, "layers": 2},
    {"model_kind": "mini-gpt", "context_length": CONTEXT, "layers": 1, "tie_lm_head": True, "input_rmsnorm": False},
    {"model_kind": "mini-gpt", "context_length": CONTEXT, "layers": 3, "final_rmsnorm": False},
    {"model_kind": "bigram"},
    {"model_kind": "bigram", "tie_lm_head": True, "input_rmsnorm": True},
]
EVERY_MODEL = [gpt_settings(**switches, context_length=CONTEXT) for switches in SWITCHES]
EVERY_MODEL += [resolve({**SMALL, **settings}) for settings in OTHER_MODELS]


def name_model(settings: TrainSettings) -> str:
    place = EVERY_MODEL.index(settings)
    switches = SWITCHES[place] if place < len(SWITCHES) else OTHER_MODELS[place - len(SWITCHES)]
    return f"{settings.model_kind}-{'-'.join(switches)}"


every_model = pytest.mark.parametrize("settings", EVERY_MODEL, ids=name_model)


def build_both(settings: TrainSettings) -> tuple[TensorModel, NumpyModel]:
    """Build a model of random weights, on torch and on numpy."""
    reference: TensorModel
    if settings.model_kind == "gpt":
        reference = build_random_gpt(settings)
    else:
        random = torch.Generator().manual_seed(1)
        weights = {
            name: torch.randn(shape, generator=random, dtype=torch.float64).mul(0.7)
            for name, shape in parameter_shapes(settings, V).items()
        }
        reference = factory.build_model(settings, V, weights, resolve_device(settings))
    weights_of_numpy = {name: weight.detach().numpy() for name, weight in reference.weights.items()}
    return reference, build_model(settings, V, weights_of_numpy)


def cut(settings: TrainSettings, text: list[int]) -> list[int]:
    """Return what a model sees of a text: a full context of a gpt drops its older half, others its oldest token."""
    longest = 1 if settings.model_kind == "bigram" else settings.context_length
    if len(text) <= longest:
        return text
    return text[-max(1, longest // 2) :] if settings.model_kind == "gpt" else text[-longest:]


@every_model
def test_logits_and_losses_are_those_of_the_tensor_engine(settings: TrainSettings) -> None:
    reference, model = build_both(settings)
    assert model.parameter_count == reference.parameter_count
    assert model.context_length == reference.context_length
    for prompt in PROMPTS:
        assert model.logits(prompt) == pytest.approx(reference.logits(prompt), rel=1e-9, abs=1e-9)
    rows = [row[: settings.context_length + 1] for row in random_rows(3, CONTEXT + 1, vocab_size=6)]
    for found, expected in zip(model.score(rows), score_rows(reference, rows), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)


@every_model
def test_greedy_tokens_are_those_of_the_full_forward_pass(settings: TrainSettings) -> None:
    reference, model = build_both(settings)
    texts = [cut(settings, list(prompt)) for prompt in PROMPTS]
    uniforms = [[0.5] * len(PROMPTS)] * (3 * CONTEXT)
    for sampled in model.decoder(PROMPTS).stream(GREEDY, uniforms):
        expected = [reference.logits(text) for text in texts]
        assert [token.id for token in sampled] == [int(np.argmax(logits)) for logits in expected]
        probabilities = [torch.tensor(logits, dtype=torch.float64).softmax(0).max().item() for logits in expected]
        assert [token.probability for token in sampled] == pytest.approx(probabilities, rel=1e-6)
        texts = [cut(settings, [*text, token.id]) for text, token in zip(texts, sampled, strict=True)]


@every_model
def test_logits_after_given_tokens_are_those_of_the_full_forward_pass(settings: TrainSettings) -> None:
    reference, model = build_both(settings)
    texts = [cut(settings, list(prompt)) for prompt in PROMPTS]
    decoder = NumpyDecoder(model, PROMPTS)
    for tokens in zip(*random_rows(len(PROMPTS), 30, vocab_size=5, seed=3), strict=True):  # every fifth is a BOS
        for text, sampled in zip(texts, decoder.sample_tokens(GREEDY, [0.5] * len(PROMPTS)), strict=True):
            expected = torch.tensor(reference.logits(text), dtype=torch.float64).softmax(0)
            assert sampled.probability == pytest.approx(expected.max().item(), rel=1e-6)
            ids, probabilities = zip(*sampled.alternatives, strict=True)
            assert probabilities == pytest.approx(expected[list(ids)].tolist(), rel=1e-6)
        decoder.append_tokens(tokens)
        texts = [cut(settings, [*text, token]) for text, token in zip(texts, tokens, strict=True)]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_contexts_are_rolled_over(length: int) -> None:
    switches = {"context_length": length, "document_mask": True, "window_pattern": "S", "window": 1}
    test_greedy_tokens_are_those_of_the_full_forward_pass(gpt_settings(**switches))


@pytest.mark.parametrize("window", [0, 100])
@pytest.mark.parametrize("document_mask", [False, True])
def test_a_long_prompt_is_read_in_chunks(window: int, document_mask: bool) -> None:
    settings = gpt_settings(
        context_length=600, window_pattern="S" if window else "L", window=window or 600, document_mask=document_mask
    )
    reference, model = build_both(settings)
    (row,) = random_rows(1, 600, vocab_size=V)
    (found,) = model.score([row])
    (expected,) = score_rows(reference, [row])
    assert found == pytest.approx(expected, rel=1e-9)
    assert model.logits(row) == pytest.approx(reference.logits(row), rel=1e-9)


def test_equal_prompts_are_read_once() -> None:
    batch_sizes: list[int] = []

    class Counting:
        """A model that records how many rows it reads."""

        def __init__(self, model: NumpyModel) -> None:
            self._model = model
            self.context_length, self.kept_length = model.context_length, model.kept_length
            self.new_cache = model.new_cache

        def read(self, tokens: Any, cache: Any, only_last: bool) -> Any:
            batch_sizes.append(len(tokens))
            return self._model.read(tokens, cache, only_last)

    _, model = build_both(gpt_settings())
    decoder = NumpyDecoder(Counting(model), [[BOS, 4]] * 5)
    decoder.append_tokens([1, 2, 3, 4, 5])
    assert batch_sizes == [1, 5]


def test_appending_tokens_does_not_change_the_prompts() -> None:
    _, model = build_both(gpt_settings())
    prompt = [BOS, 3, 4]
    NumpyDecoder(model, [prompt, prompt]).append_tokens([1, 2])
    assert prompt == [BOS, 3, 4]


def test_decoders_of_one_model_are_independent() -> None:
    _, model = build_both(gpt_settings())
    first, second = NumpyDecoder(model, PROMPTS), NumpyDecoder(model, PROMPTS)
    expected = second.sample_tokens(GREEDY, [0.5] * 5)
    first.append_tokens([1, 2, 3, 4, 5])
    assert second.sample_tokens(GREEDY, [0.5] * 5) == expected


@pytest.mark.parametrize("settings", [EVERY_MODEL[0], EVERY_MODEL[len(SWITCHES)]], ids=["gpt", "mini-gpt"])
def test_float32_weights_are_computed_with_in_float32_whatever_the_dtype_of_training(settings: TrainSettings) -> None:
    reference, _ = build_both(settings)
    weights = {name: to_array(weight.detach().float()) for name, weight in reference.weights.items()}
    found = load_model(dataclasses.replace(settings, dtype="bfloat16"), V, weights).logits([BOS, 7, 7, 3, 21])
    assert found == pytest.approx(reference.logits([BOS, 7, 7, 3, 21]), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_has_diverged_generates_without_warnings(value: float) -> None:
    weights = {name: np.full(shape, value) for name, shape in parameter_shapes(gpt_settings(), V).items()}
    model = build_model(gpt_settings(), V, weights)
    for settings in (GREEDY, SampleSettings(), SampleSettings(top_k=3, top_p=0.5)):
        assert len(list(model.decoder([[BOS]]).stream(settings, [[0.5]] * 20))) == 20
