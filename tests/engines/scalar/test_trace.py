"""Inspection: every number can be found, and its gradient and derivatives are correct."""

import math

import pytest

from engines.errors import UserError
from engines.scalar.factory import create_model
from engines.scalar.models import ScalarBigram, ScalarMiniGPT
from engines.scalar.trace import Trace, describe_attention, describe_graph, describe_parameters, trace_loss
from engines.settings.resolve import resolve

TOKENS = [0, 3, 1, 2, 2]


def model(**given: object) -> ScalarBigram | ScalarMiniGPT:
    return create_model(resolve({"model_kind": "mini-gpt", "width": 4, "heads": 2, "context_length": 8, **given}), 5)


def trace(**given: object) -> Trace:
    return trace_loss(model(**given), TOKENS)


def test_parameters_are_described_with_shape_norm_and_gradient() -> None:
    found = {entry["name"]: entry for entry in describe_parameters(trace())}
    assert list(found) == ["wte", "wpe", "head", "0.wq", "0.wk", "0.wv", "0.wo", "0.fc1", "0.fc2"]
    assert found["0.fc1"]["shape"] == [16, 4] and found["wte"]["norm"] > 0 and found["head"]["grad_norm"] > 0
    assert found["0.wo"]["norm"] == 0.0


def test_attention_is_causal_and_sums_to_one() -> None:
    heads = describe_attention(trace(layers=2))
    assert [(head["layer"], head["head"]) for head in heads] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for head in heads:
        assert [len(row) for row in head["weights"]] == [1, 2, 3, 4]
        assert all(math.fsum(row) == pytest.approx(1.0) for row in head["weights"])


def test_a_bigram_has_a_graph_but_no_attention() -> None:
    bigram = create_model(resolve({}), 5)
    found = trace_loss(bigram, TOKENS)
    assert describe_attention(found) == []
    assert describe_graph(found, "1:linear[0,0]", 1, 3)["made_from"] == 10


def test_the_loss_is_computed_from_the_logits() -> None:
    found = trace()
    last = next(reversed(found.nodes))
    graph = describe_graph(found, f"{last}[0,0]", 1, 99)
    assert graph["value"] == found.loss and graph["gradient"] == 1.0
    assert graph["made_from"] == len(graph["behind"]) == 4 * 5
    for part in graph["behind"]:
        assert part["derivative"] == pytest.approx(part["gradient"])  # with respect to the loss, both are the same


def test_a_gradient_agrees_with_finite_differences_of_the_loss() -> None:
    step = 1e-6
    gradient = describe_graph(trace(), "0.wv[1,2]", 1, 5)["gradient"]
    losses = []
    for sign in (1, -1):
        moved = model()
        moved.parameters["0.wo"].data[0][0] = 0.3
        moved.parameters["0.wv"].data[1][2] += sign * step
        losses.append(trace_loss(moved, TOKENS).loss)
    still = model()
    still.parameters["0.wo"].data[0][0] = 0.3
    expected = describe_graph(trace_loss(still, TOKENS), "0.wv[1,2]", 1, 5)["gradient"]
    assert gradient == 0.0  # wo is initialised to zero, so no gradient passes
    assert expected == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-4, abs=1e-9)


def test_depth_and_top_limit_the_graph() -> None:
    graph = describe_graph(trace(), "5:linear[1,1]", 2, 6)
    assert len(graph["behind"]) == 6 < graph["made_from"]
    deepest = [deeper for part in graph["behind"] for deeper in part.get("behind", [])]
    assert deepest and all("behind" not in number for number in deepest)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ("nothing[0,0]", "Available nodes: wte"),
        ("wte[9,0]", "5 rows and 4 columns"),
        ("wte", "not NAME\\[row,column\\]"),
    ],
)
def test_an_unknown_element_is_an_error_that_lists_what_is_available(element: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        describe_graph(trace(), element, 1, 1)


def test_an_empty_text_is_an_error() -> None:
    with pytest.raises(UserError, match="--text is empty"):
        trace_loss(model(), [0])
