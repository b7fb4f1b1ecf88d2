"""Parameter shapes: those of the estimates equal those that the engines build."""

from typing import Any

import pytest

from engines.cost.parameter_shapes import is_matrix, parameter_shapes, role_of, window_of
from engines.scalar import factory as scalar
from engines.settings.resolve import resolve
from engines.settings.train import TrainSettings

TINY_GPT = {"model_kind": "gpt", "layers": 3, "width": 32, "heads": 4, "context_length": 16, "batch_size": 2}
OFF = ("value_embeddings", "residual_scalars", "embedding_scalars", "smear", "backout")


@pytest.mark.parametrize("kind", ["bigram", "mini-gpt"])
@pytest.mark.parametrize("tied", [True, False])
def test_shapes_equal_those_of_the_scalar_engine(kind: str, tied: bool) -> None:
    settings = resolve({"model_kind": kind, "tie_lm_head": tied} | ({"layers": 2} if kind == "mini-gpt" else {}))
    built = {name: node.shape for name, node in scalar.init_parameters(settings, 11).items()}
    assert built == parameter_shapes(settings, 11)


@pytest.mark.parametrize(
    "switches",
    [{}, {"kv_heads": 2}, {"tie_lm_head": True}, {"layers": 4}, dict.fromkeys(OFF, False), {"width": 8, "kv_heads": 1}],
)
def test_a_gpt_needs_exactly_these_parameters(switches: dict[str, Any]) -> None:
    import torch

    from engines.tensor.devices import resolve_device
    from engines.tensor.models.gpt import GPT

    settings = resolve({**TINY_GPT, "device": "cpu", **switches})
    parameters = {
        name: torch.full(shape, 0.1).requires_grad_() for name, shape in parameter_shapes(settings, 100).items()
    }
    model = GPT(settings, 100, parameters, resolve_device(settings))
    model.per_token_loss(torch.arange(34).view(2, 17)).mean().backward()
    assert [name for name, weight in model.weights.items() if weight.grad is None] == []


def test_shapes_of_a_gpt_with_fewer_heads_of_keys_and_values() -> None:
    shapes = parameter_shapes(resolve(TINY_GPT | {"kv_heads": 2}), 100)
    assert shapes["wte"] == shapes["head"] == (128, 32)
    assert shapes["1.q"] == shapes["1.o"] == (32, 32) and shapes["1.k"] == shapes["1.v"] == (16, 32)
    assert shapes["1.fc"] == (128, 32) and shapes["1.proj"] == (32, 128)
    assert {name for name in shapes if "value" in name} == {
        "0.value_embedding", "0.value_gate", "2.value_embedding", "2.value_gate",
    }  # fmt: skip
    assert shapes["0.value_embedding"] == (128, 16) and shapes["0.value_gate"] == (2, 12)


def test_every_parameter_has_a_role_and_muon_optimises_matrices_of_layers() -> None:
    names = parameter_shapes(resolve(TINY_GPT), 100)
    assert {role_of(name) for name in names} == {
        "embedding", "head", "attention", "mlp", "value embeddings", "gates", "scalars",
    }  # fmt: skip
    matrices = {name.partition(".")[2] for name in names if is_matrix(name)}
    assert matrices == {"q", "k", "v", "o", "fc", "proj", "value_gate"}


def windows(**given: Any) -> list[int]:
    settings: TrainSettings = resolve({**TINY_GPT, "layers": 5, **given})
    return [window_of(settings, layer) for layer in range(settings.layers)]


def test_windows_repeat_and_the_last_layer_sees_all() -> None:
    assert windows(window_pattern="SSL", window=4) == [4, 4, 0, 4, 0]
    assert windows(window_pattern="S") == [2, 2, 2, 2, 0]  # an eighth of the context
    assert windows() == [2, 2, 2, 0, 0]
    assert windows(window_pattern="S", window=16) == windows(window_pattern="L") == [0] * 5
