"""Evaluation: a case computed by hand, results that do not depend on chunks or, for a bigram, on rows, and scores that
are not computed yet when they are returned."""

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
from engines.training.evaluation import CHUNK_TOKENS, Evaluation, Targets, evaluate

TOKEN_BYTES = [0, 1, 3]  # BOS, "a" and a character of three bytes
NATS = {(a, b): 0.5 + a + 10.0 * b for a in range(3) for b in range(3)}


class TableModel:
    """Returns for each target the nats in a table by (current, target), and records the rows that it scored."""

    parameter_count, context_length, compiles_decoding = 0, 1, False

    def __init__(self, nats: dict[tuple[int, int], float]) -> None:
        self._nats = nats
        self.rows: list[list[int]] = []

    def logits(self, context: Sequence[int]) -> Sequence[float]:
        raise AssertionError("evaluation only scores")

    def decoder(self, prompts: Sequence[Sequence[int]]) -> Decoder:
        raise AssertionError("evaluation only scores")

    def score(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        self.rows += map(list, rows)
        return [[self._nats[a, b] for a, b in pairwise(row)] for row in rows]


def evaluate_tokens(
    tokens: list[int],
    context: int = 2,
    limit: int = 0,
    model: TableModel | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Evaluation:
    targets = Targets.of(memoryview(array("B", tokens)), TOKEN_BYTES, limit)
    return evaluate(model or TableModel(NATS), targets, context, lambda: None, chunk_tokens)


def test_a_case_computed_by_hand() -> None:
    # targets 1, 2, BOS, 1 cost 10.5, 21.5, 2.5 and 10.5 nats; all but BOS make 1 + 3 + 1 bytes
    found = evaluate_tokens([BOS, 1, 2, BOS, 1])
    assert found == Evaluation(45.0 / 4, pytest.approx(42.5 / math.log(2) / 5), 4, 5)


def test_rows_share_their_edge_so_that_each_token_is_a_target_once() -> None:
    model = TableModel(NATS)
    evaluate_tokens([BOS, 1, 2, 1, 2, 1], context=2, model=model)
    assert model.rows == [[BOS, 1, 2], [2, 1, 2], [2, 1]]


def test_a_limit_keeps_the_first_targets() -> None:
    assert evaluate_tokens([BOS, 1, 2, 1, 2, 1], limit=3) == evaluate_tokens([BOS, 1, 2, 1])
    assert evaluate_tokens([BOS, 1, 2], limit=99) == evaluate_tokens([BOS, 1, 2])


@pytest.mark.parametrize("typecode", ["B", "H", "I"])
def test_targets_of_every_width_are_distinguished_from_bos(typecode: str) -> None:
    largest = 256 ** array(typecode).itemsize - 1
    ids = [BOS, 1, 255, BOS, min(256, largest), min(65536, largest), BOS, largest if typecode != "I" else 1 << 20]
    found = Targets.of(memoryview(array(typecode, ids)), [0] + [2] * (1 << 20))
    assert list(found.is_text) == [int(token != BOS) for token in ids[1:]]
    assert found.size == 2 * sum(found.is_text)


def test_millions_of_targets_need_no_list_of_integers() -> None:
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
    chunk_tokens=st.integers(1, 20),
)
def test_results_do_not_depend_on_chunks_or_rows(tokens: list[int], context: int, chunk_tokens: int) -> None:
    in_chunks = evaluate_tokens(tokens, context, chunk_tokens=chunk_tokens)
    assert list(map(str, in_chunks)) == list(map(str, evaluate_tokens(tokens, context=99)))


def test_the_callback_runs_after_every_chunk() -> None:
    calls: list[None] = []
    tokens = memoryview(array("B", [1] * 11))
    evaluate(TableModel(NATS), Targets.of(tokens, TOKEN_BYTES), 2, lambda: calls.append(None), chunk_tokens=4)
    assert len(calls) == 3  # ten targets, four per chunk


class LazyModel(TableModel):
    """Computes scores only when they are read. `requested` and `computed` count chunks of rows."""

    def __init__(self) -> None:
        super().__init__(NATS)
        self.requested = self.computed = self.max_ahead = 0

    def score(self, rows: Sequence[Sequence[int]]) -> Iterable[list[float]]:
        self.requested += 1
        self.max_ahead = max(self.max_ahead, self.requested - self.computed)
        return self._compute(rows)

    def _compute(self, rows: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        self.computed += 1
        yield from super().score(rows)


@settings(deadline=None, max_examples=40)
@given(tokens=st.lists(st.integers(0, 2), min_size=2, max_size=40), chunk_tokens=st.integers(1, 20))
def test_pending_scores_give_the_same_results(tokens: list[int], chunk_tokens: int) -> None:
    pending = evaluate_tokens(tokens, model=LazyModel(), chunk_tokens=chunk_tokens)
    assert list(map(str, pending)) == list(map(str, evaluate_tokens(tokens)))


def test_a_device_runs_at_most_a_few_chunks_ahead_of_the_host() -> None:
    model = LazyModel()
    evaluate_tokens([1] * 101, model=model, chunk_tokens=2)
    assert model.requested == model.computed == 50 and 1 < model.max_ahead <= 5


def test_an_undefined_mean_is_nan() -> None:
    assert math.isnan(evaluate_tokens([BOS]).loss) and math.isnan(evaluate_tokens([BOS]).bpb)
    only_ends = evaluate_tokens([BOS, BOS])
    assert only_ends.loss == 0.5 and math.isnan(only_ends.bpb)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_not_hidden_by_the_mean(bad: float) -> None:
    found = evaluate_tokens([BOS, 1, 1], model=TableModel({(0, 1): bad, (1, 1): 1.0}))
    assert str(found.loss) == str(found.bpb) == str(bad)
