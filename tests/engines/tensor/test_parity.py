"""Parity of the scalar and the tensor engine: the same weights, batches and, in float64, the same results."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import FLOAT64_CPU, build_tensor_learner, copy_gradients, random_rows, score_rows

from engines.data.batches import Batches
from engines.data.prepare import PreparedData, prepare
from engines.interfaces import Batch, Learner, StepHyperparameters
from engines.random_stream import RandomStream
from engines.scalar import factory as scalar
from engines.scalar.arrays import to_array, to_matrix
from engines.scalar.autograd import Tape
from engines.scalar.learner import ScalarLearner
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings
from engines.tensor.arrays import to_tensor
from engines.tensor.trainer import TensorLearner
from engines.training.schedules import get_lr_multiplier


@pytest.fixture(scope="module")
def names() -> PreparedData:
    return prepare(resolve({}), lambda activity, done, total: None)


def train_steps(learner: Learner, how: TrainSettings, data: PreparedData, steps: int) -> list[float]:
    """Return the losses of the first steps of a run."""
    batches = Batches(data.packed.train, how.context_length, how.batch_size, how.seed)
    for step in range(steps):
        lr = how.lr * get_lr_multiplier(
            step, how.steps, how.lr_schedule, how.warmup_fraction, how.warmdown_fraction, how.final_lr_fraction
        )
        learner.step(batches.batch(step * how.batch_size), StepHyperparameters(lr))
    return [result.loss for result in learner.pop_results()]


@pytest.mark.parametrize(
    ("requested", "steps"),
    [
        ({"model_kind": "bigram"}, 200),
        ({"model_kind": "bigram", "optimizer": "sgd"}, 200),
        ({"model_kind": "mini-gpt"}, 60),
        ({"model_kind": "mini-gpt", "optimizer": "sgd"}, 40),
    ],
    ids=["bigram", "bigram-sgd", "mini-gpt", "mini-gpt-sgd"],
)
def test_default_settings_give_the_losses_and_the_model_of_the_scalar_engine(
    requested: dict[str, Any], steps: int, names: PreparedData
) -> None:
    vocab_size = names.tokenizer.vocab_size
    ours = build_tensor_learner(resolve({**requested, **FLOAT64_CPU}), vocab_size)
    theirs = scalar.create_learner(resolve(requested), vocab_size)
    found = train_steps(ours, resolve({**requested, **FLOAT64_CPU}), names, steps)
    assert found == pytest.approx(train_steps(theirs, resolve(requested), names, steps), rel=0, abs=1e-9)
    assert found[-1] < found[0]
    rows = [names.packed.val[begin : begin + 9].tolist() for begin in range(0, 90, 9)]
    for mine, other in zip(score_rows(ours.model, rows), score_rows(theirs.model, rows), strict=True):
        assert mine == pytest.approx(other, rel=0, abs=1e-9)
    assert ours.model.logits(rows[0]) == pytest.approx(theirs.model.logits(rows[0]), rel=0, abs=1e-9)


BIGRAMS = st.fixed_dictionaries(
    {
        "model_kind": st.just("bigram"),
        "tie_lm_head": st.booleans(),
        "input_rmsnorm": st.booleans(),
        "context_length": st.integers(2, 6),
    }
)
MINI_GPTS = st.fixed_dictionaries(
    {
        "model_kind": st.just("mini-gpt"),
        "layers": st.integers(1, 3),
        "heads": st.integers(1, 3),
        "tie_lm_head": st.booleans(),
        "input_rmsnorm": st.booleans(),
        "final_rmsnorm": st.booleans(),
        "context_length": st.integers(2, 6),
    }
)


@settings(deadline=None, max_examples=25)
@given(
    model=st.one_of(BIGRAMS, MINI_GPTS),
    head_size=st.integers(2, 4),
    how=st.fixed_dictionaries(
        {
            "batch_size": st.integers(1, 4),
            "optimizer": st.sampled_from(["sgd", "adamw"]),
            "seed": st.integers(0, 99),
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "adam_eps": st.just(1e-5),  # the usual 1e-8 blows up the rounding of gradients that are zero in truth
        }
    ),
    vocab_size=st.integers(2, 9),
)
def test_a_step_has_the_gradients_and_the_update_of_the_scalar_engine(
    model: dict[str, Any], head_size: int, how: dict[str, Any], vocab_size: int
) -> None:
    requested = {**model, **how}
    if "heads" in model:
        requested["width"] = head_size * model["heads"]
    ours, theirs = (
        build_tensor_learner(resolve({**requested, **FLOAT64_CPU}), vocab_size),
        build_scalar_learner(requested, vocab_size),
    )
    ours.load_state(ours.state()._replace(model=theirs.state().model))
    rows = random_rows(how["batch_size"], model["context_length"] + 1, vocab_size, how["seed"])

    expected = compute_scalar_gradients(theirs, rows)
    for learner in (ours, theirs):
        learner.step(Batch.from_rows(rows), StepHyperparameters(0.05))
    assert_near(copy_gradients(ours), expected)
    weights = {name: to_tensor(array) for name, array in theirs.state().model.items()}
    assert_near(ours.model.weights, weights, atol=1e-10)  # AdamW magnifies the rounding of gradients that are almost 0
    (mine,), (other,) = ours.pop_results(), theirs.pop_results()
    assert mine == pytest.approx(other, rel=1e-12)


def build_scalar_learner(requested: dict[str, Any], vocab_size: int) -> ScalarLearner:
    """Build a learner with weights of order 1, so that no gradient is negligible."""
    learner = scalar.create_learner(resolve(requested), vocab_size)
    assert isinstance(learner, ScalarLearner)
    stream = RandomStream(requested["seed"], "wide")
    state = learner.state()
    wide = {
        name: to_array([[stream.uniform(-1, 1) for _ in row] for row in to_matrix(array)])
        for name, array in state.model.items()
    }
    learner.load_state(state._replace(model=wide))
    return learner


def compute_scalar_gradients(learner: ScalarLearner, rows: list[list[int]]) -> dict[str, torch.Tensor]:
    tape = Tape()
    tape.backward(learner.model.loss(tape, rows))
    found = {}
    for name, node in learner.model.parameters.items():
        assert node.grad is not None
        found[name] = torch.tensor(node.grad, dtype=torch.float64)
        node.grad = None
    return found


def assert_near(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], atol: float = 1e-12) -> None:
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[name], rtol=1e-12, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("kind", ["bigram", "mini-gpt"])
def test_both_engines_count_the_same_parameters(kind: str) -> None:
    ours: TensorLearner = build_tensor_learner(resolve({"model_kind": kind, **FLOAT64_CPU}), 27)
    assert ours.model.parameter_count == scalar.create_learner(resolve({"model_kind": kind}), 27).model.parameter_count
