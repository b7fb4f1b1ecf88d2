"""Evaluation: a case worked out by hand, figures that depend neither on chunks nor, for a bigram, on rows, and scores
that may be still in the making."""

import math
import tracemalloc
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.data.tokenizers import BOS
from engines.interfaces import Decoder
from engines.training import evaluation
from engines.training.evaluation import Evaluation, Targets, evaluate

TOKEN_BYTES = [0, 1, 3]  # BOS, "a" and a character of three bytes
NATS = {(a, b): 0.5 + a + 10.0 * b for a in range(3) for b in range(3)}


class Guesser:
    """Gives each target the nats in a table by (current, target), and keeps the rows that it was asked for."""

    parameter_count, context_length = 0, 1

    def __init__(self, nats: dict[tuple[int, int], float]) -> None:
        self._nats = nats
        self.asked: list[list[int]] = []

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        raise AssertionError("evaluation only scores")

    def decoder(self, prompts: Sequence[Sequence[int]]) -> Decoder:
        raise AssertionError("evaluation only scores")

    def score(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        self.asked += map(list, rows)
        return [[self._nats[a, b] for a, b in pairwise(row)] for row in rows]


def evaluated(tokens: list[int], context: int = 2, limit: int = 0, model: Guesser | None = None) -> Evaluation:
    targets = Targets.of(memoryview(array("B", tokens)), TOKEN_BYTES, limit)
    return evaluate(model or Guesser(NATS), targets, context, lambda: None)


def test_a_case_worked_out_by_hand() -> None:
    # targets 1, 2, BOS, 1 cost 10.5, 21.5, 2.5 and 10.5 nats; all but BOS make 1 + 3 + 1 bytes
    found = evaluated([BOS, 1, 2, BOS, 1])
    assert found == Evaluation(45.0 / 4, pytest.approx(42.5 / math.log(2) / 5), 4, 5)


def test_rows_share_their_edge_so_that_each_token_is_a_target_once() -> None:
    model = Guesser(NATS)
    evaluated([BOS, 1, 2, 1, 2, 1], context=2, model=model)
    assert model.asked == [[BOS, 1, 2], [2, 1, 2], [2, 1]]


def test_a_limit_takes_the_first_targets() -> None:
    assert evaluated([BOS, 1, 2, 1, 2, 1], limit=3) == evaluated([BOS, 1, 2, 1])
    assert evaluated([BOS, 1, 2], limit=99) == evaluated([BOS, 1, 2])


@pytest.mark.parametrize("typecode", ["B", "H", "I"])
def test_targets_of_every_width_are_distinguished_from_bos(typecode: str) -> None:
    largest = 256 ** array(typecode).itemsize - 1
    ids = [BOS, 1, 255, BOS, min(256, largest), min(65536, largest), BOS, largest if typecode != "I" else 1 << 20]
    found = Targets.of(memoryview(array(typecode, ids)), [0] + [2] * (1 << 20))
    assert list(found.is_text) == [int(token != BOS) for token in ids[1:]]
    assert found.size == 2 * sum(found.is_text)


def test_millions_of_targets_take_no_list_of_them() -> None:
    tokens = memoryview(array("H", range(1 << 16)) * 8)
    tracemalloc.start()
    try:
        found = Targets.of(tokens, [0] + [3] * 65535)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.size == 8 * 65535 * 3 and peak < 12 * len(tokens)  # a list of integers: 36 bytes each


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
    evaluate(Guesser(NATS), Targets.of(tokens, TOKEN_BYTES), 2, lambda: calls.append(None))
    assert len(calls) == 3  # ten targets, four at once


class Slow(Guesser):
    """Its scores are in the making until they are asked for; `told` and `asked_for` count portions of rows."""

    def __init__(self) -> None:
        super().__init__(NATS)
        self.asked_for = self.told = self.most_ahead = 0

    def score(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        self.asked_for += 1
        self.most_ahead = max(self.most_ahead, self.asked_for - self.told)
        return self._when_asked(rows)

    def _when_asked(self, rows: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        self.told += 1
        yield from super().score(rows)


@settings(deadline=None, max_examples=40)
@given(tokens=st.lists(st.integers(0, 2), min_size=2, max_size=40), at_once=st.integers(1, 20))
def test_scores_in_the_making_are_waited_for_and_count_the_same(tokens: list[int], at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_TOKENS_AT_ONCE", at_once)
        assert list(map(str, evaluated(tokens, model=Slow()))) == list(map(str, evaluated(tokens)))


def test_a_device_is_a_few_portions_ahead_of_the_host_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_TOKENS_AT_ONCE", 2)
    model = Slow()
    evaluated([1] * 101, model=model)
    assert model.asked_for == model.told == 50 and 1 < model.most_ahead <= 5


def test_what_cannot_be_told_is_not_a_number() -> None:
    assert math.isnan(evaluated([BOS]).loss) and math.isnan(evaluated([BOS]).bpb)
    only_ends = evaluated([BOS, BOS])
    assert only_ends.loss == 0.5 and math.isnan(only_ends.bpb)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_is_broken_is_not_hidden_by_the_mean(bad: float) -> None:
    found = evaluated([BOS, 1, 1], model=Guesser({(0, 1): bad, (1, 1): 1.0}))
    assert str(found.loss) == str(found.bpb) == str(bad)
