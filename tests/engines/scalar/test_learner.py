"""Models, optimizers and learner: they agree with torch, skip bad updates and restore their state exactly."""

import math
from array import array
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.interfaces import Batch, StepHyperparameters
from engines.scalar.autograd import Node
from engines.scalar.counts import CountBigram
from engines.scalar.factory import create_learner, load_model
from engines.scalar.optimizers import ScalarAdamW, ScalarSGD
from engines.settings.resolve import resolve

V = 7
ROWS = [[1, 2, 3, 4, 5], [2, 2, 6, 0, 1]]
KINDS = [
    {"model_kind": "bigram"},
    {"model_kind": "bigram", "tie_lm_head": True, "input_rmsnorm": True, "optimizer": "sgd", "lr": 0.3},
    {"model_kind": "mini-gpt", "layers": 2, "width": 8, "heads": 2, "context_length": 4},
    {
        "model_kind": "mini-gpt",
        "tie_lm_head": True,
        "width": 4,
        "heads": 1,
        "context_length": 4,
        "final_rmsnorm": False,
    },
]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@settings(deadline=None, max_examples=20)
@given(gradients=st.lists(st.lists(st.floats(-10, 10), min_size=6, max_size=6), min_size=1, max_size=8))
def test_adamw_and_sgd_agree_with_torch(decay: float, gradients: list[list[float]]) -> None:
    for make, theirs_of in (
        (
            lambda p: ScalarAdamW(p, 0.9, 0.95, 1e-8, decay),
            lambda p: torch.optim.AdamW(p, 0.01, (0.9, 0.95), 1e-8, decay),
        ),
        (ScalarSGD, lambda p: torch.optim.SGD(p, 0.01)),
    ):
        start = [[0.5, -1.0, 2.0], [0.0, 1.0, -0.1]]
        node = Node([row[:] for row in start], "w")
        ours = make({"w": node})
        weights = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        theirs = theirs_of([weights])
        for flat in gradients:
            node.grad = [flat[:3], flat[3:]]
            ours.update(0.01)
            weights.grad = torch.tensor(flat, dtype=torch.float64).reshape(2, 3)
            theirs.step()
        for row, expected in zip(node.data, weights.tolist(), strict=True):
            assert row == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("make", [ScalarSGD, lambda p: ScalarAdamW(p, 0.9, 0.95, 1e-8, 0.1)])
def test_each_number_of_a_long_row_is_updated_as_if_it_were_alone(make: Any) -> None:
    numbers = [math.sin(i) for i in range(150)]
    wide = Node([numbers[:]], "wide")
    columns = {str(i): Node([[number]], str(i)) for i, number in enumerate(numbers)}
    optimizers = make({"wide": wide}), make(columns)
    for step in range(3):
        gradients = [math.cos(i * step) for i in range(150)]
        wide.grad = [gradients]
        for node, gradient in zip(columns.values(), gradients, strict=True):
            node.grad = [[gradient]]
        for optimizer in optimizers:
            optimizer.update(0.01)
    assert wide.data == [[node.item() for node in columns.values()]] != [numbers]


@pytest.mark.parametrize("given_settings", KINDS)
def test_the_first_loss_is_about_the_log_of_the_vocabulary_size(given_settings: dict[str, object]) -> None:
    learner = create_learner(resolve(given_settings), V)
    learner.step(Batch.from_rows(ROWS), StepHyperparameters(0.01))
    (result,) = learner.pop_results()
    assert result.loss == pytest.approx(math.log(V), abs=0.15) and result.grad_norm > 0 and learner.pop_results() == []


@pytest.mark.parametrize("given_settings", KINDS)
def test_training_lowers_the_loss_and_scores_agree_with_the_loss(given_settings: dict[str, object]) -> None:
    settings = resolve(given_settings)
    learner = create_learner(settings, V)
    for _ in range(60):
        learner.step(Batch.from_rows(ROWS), StepHyperparameters(settings.lr))
    losses = [result.loss for result in learner.pop_results()]
    assert losses[-1] < losses[0] - 0.3
    nats = [n for row in learner.model.score(ROWS) for n in row]
    learner.step(Batch.from_rows(ROWS), StepHyperparameters(settings.lr))
    assert math.fsum(nats) / len(nats) == pytest.approx(learner.pop_results()[0].loss)


@pytest.mark.parametrize("given_settings", KINDS)
def test_state_is_restored_to_the_last_bit(given_settings: dict[str, object]) -> None:
    settings = resolve(given_settings)
    one, other = create_learner(settings, V), create_learner(resolve({**given_settings, "seed": 5}), V)
    for _ in range(3):
        one.step(Batch.from_rows(ROWS), StepHyperparameters(0.01))
    other.load_state(one.state())
    for learner in (one, other):
        learner.step(Batch.from_rows(ROWS), StepHyperparameters(0.01))
    assert one.state() == other.state() and one.pop_results()[-1] == other.pop_results()[-1]
    again = load_model(settings, V, one.state().model)
    assert again.logits([1, 2]) == one.model.logits([1, 2])


@pytest.mark.parametrize("given_settings", KINDS)
def test_an_update_that_is_not_finite_is_skipped(given_settings: dict[str, object]) -> None:
    learner = create_learner(resolve(given_settings), V)
    name, node = next(iter(learner.model.parameters.items()))  # type: ignore[attr-defined]
    node.data[1][0] = math.nan
    before = learner.state()
    learner.step(Batch.from_rows(ROWS), StepHyperparameters(0.01))
    (result,) = learner.pop_results()
    assert math.isnan(result.loss) and learner.state() == before, name


@pytest.mark.parametrize("given_settings", KINDS[2:])
def test_a_later_token_changes_no_earlier_score(given_settings: dict[str, object]) -> None:
    learner = create_learner(resolve(given_settings), V)
    for _ in range(5):
        learner.step(Batch.from_rows(ROWS), StepHyperparameters(0.05))
    one, other = learner.model.score([[1, 2, 3, 4, 5], [1, 2, 3, 6, 5]])
    assert one[:2] == other[:2] and one[2] != other[2] and one[3] != other[3]


def test_mini_gpt_reads_the_last_tokens_of_a_long_context() -> None:
    model = create_learner(resolve(KINDS[2]), V).model
    assert model.logits([5, 6, 1, 2, 3, 4]) == model.logits([1, 2, 3, 4]) != model.logits([2, 3, 4])


def test_tying_the_head_saves_its_parameters() -> None:
    counts = [create_learner(resolve(given_settings), V).model.parameter_count for given_settings in KINDS]
    assert counts == [2 * V * V, V * V, 2 * 8 * V + 4 * 8 + 2 * 12 * 8 * 8, 4 * V + 4 * 4 + 12 * 4 * 4]


def test_the_counting_bigram_adds_one_to_every_count() -> None:
    model = CountBigram(3)
    model.add(array("B", [0, 1, 2, 1, 2]))
    assert [math.exp(-n) for n in model.score([[1, 2, 1]])[0]] == pytest.approx([3 / 5, 2 / 4])
    endless = CountBigram(3, documents_end=False)
    assert endless.logits([1])[0] == -math.inf
