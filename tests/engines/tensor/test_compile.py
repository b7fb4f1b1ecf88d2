"""A GPT compiled per block: results equal the model's, and blocks of one kind share their graph."""

from functools import partial
from typing import Any

import pytest
import torch
from tensors import SWITCHES, TINY_GPT, build_random_gpt, gpt_settings, random_rows

from engines.tensor.compile import compile_per_block
from engines.tensor.models.gpt import GPT

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the compiler are no errors of this program


@pytest.fixture(autouse=True)
def trace_without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace and guard as usual, but run eagerly: compiling kernels takes minutes on a CPU."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()  # imported here: every worker of the tests collects this file
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def compute_gradients(losses: torch.Tensor, model: GPT) -> dict[str, torch.Tensor | None]:
    found = torch.autograd.grad(losses.mean(), list(model.weights.values()), allow_unused=True)
    return dict(zip(model.weights, found, strict=True))


def build_trainable_gpt(**settings: Any) -> GPT:
    model = build_random_gpt(gpt_settings(**settings))
    model.requires_grad_()
    return model


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_compiled_blocks_compute_the_losses_and_gradients_of_the_model(switches: dict[str, Any]) -> None:
    model, compiled = build_trainable_gpt(**switches), build_trainable_gpt(**switches)
    rows = torch.tensor(random_rows(3, TINY_GPT["context_length"] + 1))
    plain, losses = model.per_token_loss(rows), compile_per_block(compiled)(rows)
    torch.testing.assert_close(losses, plain, rtol=0, atol=1e-12)
    expected = compute_gradients(plain, model)
    for name, found in compute_gradients(losses, compiled).items():
        torch.testing.assert_close(found, expected[name], rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("settings, kinds", [({}, 2), ({"value_embeddings": False}, 1)], ids=str)
def test_blocks_of_one_kind_share_their_graph(settings: dict[str, Any], kinds: int) -> None:
    rows = torch.tensor(random_rows(3, TINY_GPT["context_length"] + 1))
    for _ in range(2):
        compile_per_block(build_trainable_gpt(layers=8, window_pattern="L", **settings))(rows)
    assert (
        torch._dynamo.utils.counters["stats"]["unique_graphs"] == kinds + 2
    )  # and the embedding, and the head with the loss
