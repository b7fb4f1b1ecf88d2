"""The microscope: every number can be found, and what is told of it is true."""

import math

import pytest

from engines.errors import UserError
from engines.scalar import trace
from engines.scalar.factory import new_model
from engines.scalar.models import Bigram, MiniGPT
from engines.scalar.trace import Slide
from engines.settings.resolve import resolve

TOKENS = [0, 3, 1, 2, 2]


def model(**asked: object) -> Bigram | MiniGPT:
    return new_model(resolve({"model_kind": "mini-gpt", "width": 4, "heads": 2, "context_length": 8, **asked}), 5)


def slide(**asked: object) -> Slide:
    return trace.prepare(model(**asked), TOKENS)


def test_parameters_are_told_with_shape_norm_and_gradient() -> None:
    found = {entry["name"]: entry for entry in trace.parameters(slide())}
    assert list(found) == ["wte", "wpe", "head", "0.wq", "0.wk", "0.wv", "0.wo", "0.fc1", "0.fc2"]
    assert found["0.fc1"]["shape"] == [16, 4] and found["wte"]["norm"] > 0 and found["head"]["grad_norm"] > 0
    assert found["0.wo"]["norm"] == 0.0


def test_attention_is_causal_and_sums_to_one() -> None:
    heads = trace.attention(slide(layers=2))
    assert [(head["layer"], head["head"]) for head in heads] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for head in heads:
        assert [len(row) for row in head["weights"]] == [1, 2, 3, 4]
        assert all(math.fsum(row) == pytest.approx(1.0) for row in head["weights"])


def test_a_bigram_has_no_attention_and_a_graph_all_the_same() -> None:
    bigram = new_model(resolve({}), 5)
    found = trace.prepare(bigram, TOKENS)
    assert trace.attention(found) == []
    assert trace.graph(found, "1:linear[0,0]", 1, 3)["made_from"] == 10


def test_the_graph_of_the_loss_leads_to_the_logits() -> None:
    found = slide()
    last = next(reversed(found.nodes))
    graph = trace.graph(found, f"{last}[0,0]", 1, 99)
    assert graph["value"] == found.loss and graph["gradient"] == 1.0
    assert graph["made_from"] == len(graph["behind"]) == 4 * 5
    for part in graph["behind"]:
        assert part["derivative"] == pytest.approx(part["gradient"])  # the loss' own derivatives are the gradients


def test_a_gradient_is_what_moving_the_number_does_to_the_loss() -> None:
    step = 1e-6
    gradient = trace.graph(slide(), "0.wv[1,2]", 1, 5)["gradient"]
    losses = []
    for sign in (1, -1):
        moved = model()
        moved.parameters["0.wo"].rows[0][0] = 0.3
        moved.parameters["0.wv"].rows[1][2] += sign * step
        losses.append(trace.prepare(moved, TOKENS).loss)
    still = model()
    still.parameters["0.wo"].rows[0][0] = 0.3
    expected = trace.graph(trace.prepare(still, TOKENS), "0.wv[1,2]", 1, 5)["gradient"]
    assert gradient == 0.0  # wo begins at zero: nothing passes
    assert expected == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-4, abs=1e-9)


def test_depth_and_top_limit_what_is_shown() -> None:
    graph = trace.graph(slide(), "5:linear[1,1]", 2, 6)
    assert len(graph["behind"]) == 6 < graph["made_from"]
    deepest = [deeper for part in graph["behind"] for deeper in part.get("behind", [])]
    assert deepest and all("behind" not in number for number in deepest)


@pytest.mark.parametrize(
    ("node", "told"),
    [("nothing[0,0]", "there are wte"), ("wte[9,0]", "5 rows and 4 columns"), ("wte", "should look like")],
)
def test_a_number_that_is_not_there_is_told(node: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        trace.graph(slide(), node, 1, 1)


def test_an_empty_text_has_no_loss_to_look_at() -> None:
    with pytest.raises(UserError, match="--text is empty"):
        trace.prepare(model(), [0])
