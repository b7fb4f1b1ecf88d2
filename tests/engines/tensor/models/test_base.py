"""Scores of rows of any length, with and without compiled code, and bits per byte."""

import math
from array import array
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import (
    FLOAT64_CPU,
    SWITCHES,
    V,
    build_random_gpt,
    build_tensor_learner,
    gpt_settings,
    random_batch,
    random_rows,
    randomize_weights,
    score_rows,
)
from torch import Tensor

from engines.data.tokenizers import BOS, CharTokenizer
from engines.settings.resolve import resolve
from engines.tensor.devices import resolve_device
from engines.tensor.models.base import TensorModel
from engines.tensor.models.bigram import Bigram
from engines.training.evaluation import Targets, evaluate

ROWS = st.lists(st.lists(st.integers(0, V - 1), min_size=2, max_size=13), min_size=1, max_size=9)


def build_random_mini_gpt() -> TensorModel:
    how = {"model_kind": "mini-gpt", "context_length": 12, "layers": 2, "width": 8, "heads": 2, **FLOAT64_CPU}
    learner = build_tensor_learner(resolve(how))
    randomize_weights(learner)
    return learner.model


def assert_scores_are_those_of_single_rows(model: TensorModel, rows: list[list[int]]) -> None:
    found = score_rows(model, rows)
    assert [len(nats) for nats in found] == [len(row) - 1 for row in rows]
    for row, nats in zip(rows, found, strict=True):
        expected = model.per_token_loss(torch.tensor([row]))[0]
        assert nats == pytest.approx(expected.tolist(), rel=1e-11)


@settings(deadline=None, max_examples=15)
@given(rows=ROWS, switches=st.sampled_from(SWITCHES))
def test_rows_of_unequal_lengths_have_the_scores_of_each_row_by_itself(
    rows: list[list[int]], switches: dict[str, Any]
) -> None:
    assert_scores_are_those_of_single_rows(build_random_gpt(gpt_settings(**switches)), rows)


@pytest.mark.parametrize("chunk_rows", [1, 2, 4])
def test_rows_are_scored_in_chunks_of_the_requested_size(chunk_rows: int) -> None:
    for model in (build_random_mini_gpt(), build_random_gpt(gpt_settings())):
        model.score_in_chunks(chunk_rows, 13, None)
        assert_scores_are_those_of_single_rows(model, random_rows(5, 13) + random_rows(2, 4))


def test_scores_are_the_losses_of_the_logits() -> None:
    for model in (build_random_mini_gpt(), build_random_gpt(gpt_settings())):
        (row,) = random_rows(1, 13)
        for position, nats in enumerate(score_rows(model, [row])[0], 1):
            logits = torch.tensor(model.logits(row[:position]), dtype=torch.float64)
            assert nats == pytest.approx(float(-logits.log_softmax(0)[row[position]]), rel=1e-11)


class FakeCompiledLoss:
    """A loss that accepts one shape only, as compiled code does."""

    def __init__(self, model: TensorModel, shape: tuple[int, int]) -> None:
        self._model = model
        self._shape = shape
        self.calls = 0

    def __call__(self, rows: Tensor) -> Tensor:
        assert rows.shape == self._shape
        self.calls += 1
        return self._model.per_token_loss(rows)


@settings(deadline=None, max_examples=15)
@given(rows=ROWS)
def test_compiled_code_scores_all_rows_in_its_one_shape(rows: list[list[int]]) -> None:
    model = build_random_gpt(gpt_settings())
    compiled = FakeCompiledLoss(model, (4, 13))
    model.score_in_chunks(4, 13, compiled)
    assert_scores_are_those_of_single_rows(model, rows)
    assert compiled.calls == -(-len(rows) // 4)


def test_rows_longer_than_the_compiled_shape_are_scored_without_compiled_code() -> None:
    model = build_random_gpt(gpt_settings())
    compiled = FakeCompiledLoss(model, (4, 9))
    model.score_in_chunks(4, 9, compiled)
    assert_scores_are_those_of_single_rows(model, random_rows(2, 13))
    assert compiled.calls == 0


def test_scoring_with_compiled_code_enables_gradients_and_leaves_none_behind() -> None:
    how = gpt_settings()
    learner = build_tensor_learner(how)
    learner._config = learner._config._replace(is_compiled=True)
    with_gradients = []

    def per_token_loss(rows: Tensor) -> Tensor:
        with_gradients.append(torch.is_grad_enabled())
        return learner.model.per_token_loss(rows)

    learner._loss = per_token_loss
    learner.warm_up(random_batch(how))
    before = [parameter.grad.clone() for parameter in learner.model.weights.values() if parameter.grad is not None]
    scores = learner.model.score(random_rows(4, 13))
    assert all(not chunk._copy.wait().requires_grad for chunk in scores._chunks)
    list(scores)
    assert with_gradients and all(with_gradients)
    assert all(map(torch.equal, before, [parameter.grad for parameter in learner.model.weights.values()]))


# --- bits per byte --------------------------------------------------------------------------------

TOKENIZER = CharTokenizer("aé日")  # 1, 2 and 3 bytes


def build_bigram(probabilities: list[list[float]]) -> Bigram:
    """Build a bigram with the probability of each next token (column) after each token (row)."""
    parameters = {
        "embedding": torch.eye(len(probabilities), dtype=torch.float64),
        "head": torch.tensor(probabilities, dtype=torch.float64).log().T,
    }
    return Bigram(parameters, resolve_device(resolve({"model_kind": "bigram", **FLOAT64_CPU})), input_rmsnorm=False)


@pytest.mark.parametrize("context", [1, 2, 3, 8])
def test_bits_per_byte_of_multibyte_characters_match_a_manual_calculation(context: int) -> None:
    half_quarter = [
        [1 / 8, 1 / 2, 1 / 4, 1 / 8],
        [1 / 4, 1 / 4, 1 / 4, 1 / 4],
        [1 / 2, 1 / 4, 1 / 8, 1 / 8],
        [1 / 4] * 4,
    ]
    tokens = memoryview(array("B", [BOS, *TOKENIZER.encode("aé日aé"), BOS, *TOKENIZER.encode("日")]))
    # in bits: a 1, é after a 2, 日 after é 3, a after 日 2, é after a 2, BOS after é 1 (no text), 日 after BOS 3
    found = evaluate(build_bigram(half_quarter), Targets.of(tokens, TOKENIZER.token_bytes), context, lambda: None)
    assert found.tokens == 7 and found.bytes == 1 + 2 + 3 + 1 + 2 + 3
    assert found.bpb == pytest.approx((1 + 2 + 3 + 2 + 2 + 3) / 12, rel=1e-12)
    assert found.loss == pytest.approx(math.log(2) * 14 / 7, rel=1e-12)


def test_an_evaluation_is_the_same_with_and_without_compiled_code() -> None:
    model = build_random_gpt(gpt_settings(), TOKENIZER.vocab_size)
    (tokens,) = random_rows(1, 200, TOKENIZER.vocab_size)
    stream = memoryview(array("B", tokens))

    def bpb() -> float:
        return evaluate(model, Targets.of(stream, TOKENIZER.token_bytes), 12, lambda: None).bpb

    expected = bpb()
    model.score_in_chunks(4, 13, FakeCompiledLoss(model, (4, 13)))
    assert bpb() == pytest.approx(expected, rel=1e-12)
