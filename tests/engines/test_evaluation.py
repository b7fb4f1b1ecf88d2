"""Evaluation: a case worked out by hand, and figures that depend neither on chunks nor, for a bigram, on rows."""

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import evaluation
from engines.data.tokenizers import BOS
from engines.evaluation import Evaluation, evaluate

TOKEN_BYTES = [0, 1, 3]  # BOS, "a" and a character of three bytes


class Guesser:
    """Gives each target the nats in a table by (current, target), and keeps the rows that it was asked for."""

    parameter_count, context_length = 0, 1

    def __init__(self, nats: dict[tuple[int, int], float]) -> None:
        self._nats = nats
        self.asked: list[list[int]] = []

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        raise AssertionError("evaluation only scores")

    def score(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        self.asked += map(list, rows)
        return [[self._nats[a, b] for a, b in pairwise(row)] for row in rows]


def guesser() -> Guesser:
    return Guesser({(a, b): 0.5 + a + 10.0 * b for a in range(3) for b in range(3)})


def evaluated(tokens: list[int], context: int = 2, limit: int = 0, model: Guesser | None = None) -> Evaluation:
    return evaluate(model or guesser(), memoryview(array("B", tokens)), TOKEN_BYTES, context, limit, lambda: None)


def test_a_case_worked_out_by_hand() -> None:
    # targets 1, 2, BOS, 1 cost 10.5, 21.5, 2.5 and 10.5 nats; all but BOS make 1 + 3 + 1 bytes
    found = evaluated([BOS, 1, 2, BOS, 1])
    assert found == Evaluation(45.0 / 4, pytest.approx(42.5 / math.log(2) / 5), 4, 5)


def test_rows_share_their_edge_so_that_each_token_is_a_target_once() -> None:
    model = guesser()
    evaluated([BOS, 1, 2, 1, 2, 1], context=2, model=model)
    assert model.asked == [[BOS, 1, 2], [2, 1, 2], [2, 1]]


def test_a_limit_takes_the_first_targets() -> None:
    assert evaluated([BOS, 1, 2, 1, 2, 1], limit=3) == evaluated([BOS, 1, 2, 1])
    assert evaluated([BOS, 1, 2], limit=99) == evaluated([BOS, 1, 2])


@settings(deadline=None, max_examples=60)
@given(
    tokens=st.lists(st.integers(0, 2), min_size=2, max_size=40),
    context=st.integers(1, 12),
    at_once=st.integers(1, 20),
)
def test_figures_depend_on_neither_chunks_nor_rows(tokens: list[int], context: int, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_TOKENS_AT_ONCE", at_once)
        in_chunks = evaluated(tokens, context)
    assert list(map(str, in_chunks)) == list(map(str, evaluated(tokens, context=99)))


def test_work_in_between_is_let_in_after_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_TOKENS_AT_ONCE", 4)
    calls: list[None] = []
    tokens = memoryview(array("B", [1] * 11))
    evaluate(guesser(), tokens, TOKEN_BYTES, 2, 0, lambda: calls.append(None))
    assert len(calls) == 3  # ten targets, four at once


def test_what_cannot_be_told_is_not_a_number() -> None:
    assert math.isnan(evaluated([BOS]).loss) and math.isnan(evaluated([BOS]).bpb)
    only_ends = evaluated([BOS, BOS])
    assert only_ends.loss == 0.5 and math.isnan(only_ends.bpb)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_is_broken_is_not_hidden_by_the_mean(bad: float) -> None:
    found = evaluated([BOS, 1, 1], model=Guesser({(0, 1): bad, (1, 1): 1.0}))
    assert str(found.loss) == str(found.bpb) == str(bad)
