"""The gpt compiled in regions: they compute what the whole does, and layers of one form share their code."""

from functools import partial
from typing import Any

import pytest
import torch
from tensors import SWITCHES, TINY_GPT, awake_gpt, exact_gpt, some_rows
from torch._dynamo.utils import counters

pytestmark = pytest.mark.filterwarnings("default")  # the compiler's own warnings are not ours to forbid


@pytest.fixture(autouse=True)
def traced_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions are traced and guarded as ever, but run as they are: making kernels takes minutes on a processor."""
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def gradients_of(nats: Any, parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
    found = torch.autograd.grad(nats.mean(), list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, found, strict=True))


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_regions_compute_what_the_whole_does(switches: dict[str, Any]) -> None:
    model = awake_gpt(exact_gpt(**switches))
    for parameter in model.parameters.values():
        parameter.requires_grad_()
    rows = torch.tensor(some_rows(3, TINY_GPT["context_length"] + 1))
    plain, regions = model.nats(rows), model.nats_in_regions()(rows)
    assert torch.equal(plain, regions)
    expected = gradients_of(plain, model.parameters)
    for name, found in gradients_of(regions, model.parameters).items():
        torch.testing.assert_close(found, expected[name], rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("how, blocks", [({}, 2), ({"value_embeddings": False}, 1)], ids=str)
def test_layers_of_one_form_share_their_code(how: dict[str, Any], blocks: int) -> None:
    model = awake_gpt(exact_gpt(layers=8, window_pattern="L", **how))
    for parameter in model.parameters.values():
        parameter.requires_grad_()
    rows = torch.tensor(some_rows(3, TINY_GPT["context_length"] + 1))
    for _ in range(2):
        model.nats_in_regions()(rows)
    around = 2  # the opening, and what ends with the losses
    assert counters["stats"]["unique_graphs"] == around + blocks
