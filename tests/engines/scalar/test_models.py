"""The scalar models: the loss agrees with its formula, and its gradient with finite differences."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.generation.decoding import FullContextDecoder
from engines.random_stream import RandomStream
from engines.scalar.autograd import Tape
from engines.scalar.models import ScalarBigram, ScalarMiniGPT, init_bigram, init_mini_gpt
from engines.settings.sample import SampleSettings

V = 5
STEP = 1e-5
ROWS = st.lists(st.lists(st.integers(0, V - 1), min_size=4, max_size=4), min_size=1, max_size=3)


class WideUniform:
    """Initial numbers of about 1, so that no gradient is too small to measure."""

    def __init__(self, seed: int) -> None:
        self._stream = RandomStream(seed)

    def uniform(self, low: float, high: float) -> float:
        return self._stream.uniform(-1.0, 1.0)


def bigram(tied: bool, rmsnorm: bool, seed: int = 1) -> ScalarBigram:
    return ScalarBigram(init_bigram(V, tied, WideUniform(seed)), rmsnorm)


def mini_gpt(tied: bool, rmsnorm: bool, seed: int = 1, layers: int = 2, context_length: int = 3) -> ScalarMiniGPT:
    parameters = init_mini_gpt(V, 4, layers, context_length, tied, WideUniform(seed))
    stream = WideUniform(seed + 1)
    for name, node in parameters.items():
        if name.endswith((".wo", ".fc2")):  # they are initialised to zero, so that no gradient would pass
            node.data[:] = [[stream.uniform(-1, 1) for _ in row] for row in node.data]
    return ScalarMiniGPT(parameters, heads=2, input_rmsnorm=rmsnorm, final_rmsnorm=rmsnorm)


def loss(model: ScalarBigram | ScalarMiniGPT, rows: Sequence[Sequence[int]]) -> float:
    return model.loss(Tape(), rows).item()


def reference_bigram_loss(model: ScalarBigram, rmsnorm: bool, rows: Sequence[Sequence[int]]) -> float:
    embedding = model.parameters["embedding"].data
    head = model.parameters.get("head", model.parameters["embedding"]).data
    nats = []
    for row in rows:
        for current, target in pairwise(row):
            h = embedding[current]
            if rmsnorm:
                h = [x / math.sqrt(math.fsum(y * y for y in h) / V + model.rms_eps) for x in h]
            logits = [math.fsum(a * b for a, b in zip(h, w, strict=True)) for w in head]
            nats.append(-math.log(math.exp(logits[target]) / math.fsum(map(math.exp, logits))))
    return math.fsum(nats) / len(nats)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rmsnorm", [True, False])
@settings(deadline=None, max_examples=25)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_loss_of_a_bigram_is_the_mean_surprisal_of_all_pairs(
    tied: bool, rmsnorm: bool, rows: list[list[int]], seed: int
) -> None:
    model = bigram(tied, rmsnorm, seed)
    assert loss(model, rows) == pytest.approx(reference_bigram_loss(model, rmsnorm, rows), rel=1e-12)


@pytest.mark.parametrize("build", [bigram, mini_gpt])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rmsnorm", [True, False])
@settings(deadline=None, max_examples=4)
@given(rows=ROWS, seed=st.integers(0, 99), column=st.integers(0, 3))
def test_the_gradient_with_respect_to_every_parameter_agrees_with_finite_differences(
    build: type[ScalarBigram], tied: bool, rmsnorm: bool, rows: list[list[int]], seed: int, column: int
) -> None:
    model = build(tied, rmsnorm, seed)  # type: ignore[arg-type]
    tape = Tape()
    tape.backward(model.loss(tape, rows))
    for name, node in model.parameters.items():
        for i, row in enumerate(node.data):
            own = row[column]
            row[column] = own + STEP
            above = loss(model, rows)
            row[column] = own - STEP
            below = loss(model, rows)
            row[column] = own
            found = node.grad[i][column] if node.grad else 0.0
            assert found == pytest.approx((above - below) / (2 * STEP), rel=1e-3, abs=1e-6), (name, i)


@pytest.mark.parametrize("build", [bigram, mini_gpt])
def test_scores_agree_with_logits(build: type[ScalarBigram]) -> None:
    model = build(False, True)  # type: ignore[call-arg, arg-type]
    row = [1, 4, 0, 2]
    for place, nats in enumerate(model.score([row])[0], 1):
        logits = model.logits(row[:place])
        assert nats == pytest.approx(math.log(math.fsum(map(math.exp, logits))) - logits[row[place]])


def test_rows_of_different_lengths_are_scored_as_if_alone() -> None:
    for model in (bigram(False, False), mini_gpt(False, True)):
        rows = [[1, 4, 0, 2], [3, 3], [0, 1, 2]]
        assert model.score(rows) == [model.score([row])[0] for row in rows]


@pytest.mark.parametrize("temperature", [0.0, 1.3])
@pytest.mark.parametrize("layers, context_length, tied", [(1, 3, False), (2, 5, True), (3, 70, False)])
def test_the_cache_changes_no_bit_of_what_is_generated(
    layers: int, context_length: int, tied: bool, temperature: float
) -> None:
    model = mini_gpt(tied, rmsnorm=True, layers=layers, context_length=context_length)
    prompts = [[0], [0, 4, 2], [0, 4, 2], [1] * (context_length + 2)]
    uniforms = [[(7 * step + 3 * row) % 10 / 10 for row in range(4)] for step in range(context_length + 6)]
    how = SampleSettings(temperature=temperature)
    expected = FullContextDecoder([model.logits] * 4, context_length, prompts).stream(how, uniforms)
    assert list(model.decoder(prompts).stream(how, uniforms)) == list(expected)


def test_weights_are_drawn_in_a_fixed_order_within_bounds_and_output_projections_are_zero() -> None:
    stream = RandomStream(3, "weights")
    drawn = [RandomStream(3, "weights")]
    parameters = init_mini_gpt(V, width=2, layers=1, context_length=3, tied=False, stream=stream)
    assert list(parameters) == ["wte", "wpe", "head", *(f"0.{n}" for n in ("wq", "wk", "wv", "wo", "fc1", "fc2"))]
    for name, node in parameters.items():
        for value in (value for row in node.data for value in row):
            assert value == (0.0 if name in ("0.wo", "0.fc2") else drawn[0].uniform(-0.02, 0.02))
