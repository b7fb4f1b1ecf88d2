"""Flat buffers, SGD and AdamW equal torch; updates that are nonfinite or masked change nothing."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engines.tensor.devices import DeviceConfig
from engines.tensor.optim.adamw import SGD, AdamW
from engines.tensor.optim.flat_buffers import FlatBuffer
from engines.tensor.optim.muon import Muon, MuonOptions
from engines.tensor.optim.optimizer import DeviceHyperparameters, Optimizer, UpdateRule

CPU_CONFIG = DeviceConfig(torch.device("cpu"), torch.float64, torch.float64, False, [])
SHAPES = {"a": (3, 4), "b": (5,), "c": (2, 4)}
ALL_ON = MuonOptions(*[True] * 5)


def random_parameters(seed: int = 1) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random, dtype=torch.float64) for name, shape in SHAPES.items()}


def hyperparameters(
    lr: float = 0.01, momentum: float = 0.9, weight_decay_multiplier: float = 1.0, apply_update: float = 1.0
) -> DeviceHyperparameters:
    return DeviceHyperparameters(
        *torch.tensor([lr, momentum, weight_decay_multiplier, apply_update], dtype=torch.float64).unbind()
    )


def fill(buffer: FlatBuffer, gradients: dict[str, Tensor]) -> None:
    for name, parameter in buffer.parameters.items():
        assert parameter.grad is not None
        parameter.grad.copy_(gradients[name])


def test_gradients_of_parameters_are_views_of_the_flat_buffer() -> None:
    buffer = FlatBuffer(random_parameters(), CPU_CONFIG)
    sum(parameter.square().sum() for parameter in buffer.parameters.values()).backward()  # type: ignore[union-attr]
    assert torch.equal(buffer.gradients, 2 * buffer.weights)
    assert buffer.weights.count_nonzero() == 3 * 4 + 5 + 2 * 4


def test_parameters_of_one_shape_are_stored_as_one_contiguous_stack() -> None:
    parts = {name: torch.full((2, 3), float(name)) for name in ("0", "1", "2")}
    buffer = FlatBuffer(parts, CPU_CONFIG)
    assert torch.equal(buffer.stack(buffer.weights), torch.stack([part.double() for part in parts.values()]))


@pytest.mark.parametrize("decay", [0.0, 0.1])
@settings(deadline=None, max_examples=20)
@given(seeds=st.lists(st.integers(0, 999), min_size=1, max_size=6), rate=st.floats(0.1, 5.0))
def test_adamw_and_sgd_equal_torch(decay: float, seeds: list[int], rate: float) -> None:
    pairs: list[tuple[Callable[[FlatBuffer], UpdateRule], Callable[[list[Tensor]], torch.optim.Optimizer]]] = [
        (
            lambda buffer: AdamW(buffer, rate, 0.8, 0.95, 1e-8, decay),
            lambda p: torch.optim.AdamW(p, 0.01 * rate, (0.8, 0.95), 1e-8, decay),
        ),
        (SGD, lambda p: torch.optim.SGD(p, 0.01)),
    ]
    for make, theirs_of in pairs:
        buffer = FlatBuffer(random_parameters(), CPU_CONFIG)
        ours = make(buffer)
        expected = {name: part.requires_grad_() for name, part in random_parameters().items()}
        theirs = theirs_of(list(expected.values()))
        for seed in seeds:
            gradients = random_parameters(seed)
            fill(buffer, gradients)
            with torch.no_grad():
                ours.update(hyperparameters(), torch.tensor(True))
            for name, part in expected.items():
                part.grad = gradients[name]
            theirs.step()
        for name, parameter in buffer.parameters.items():
            torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-12)


def test_padding_between_parameters_stays_zero() -> None:
    buffer = FlatBuffer(random_parameters(), CPU_CONFIG)
    optimizer = Optimizer({"all": AdamW(buffer, 1.0, 0.9, 0.99, 1e-8, 0.1)})
    for seed in range(3):
        fill(buffer, random_parameters(seed))
        optimizer.step(torch.tensor(1.0), hyperparameters())
    in_parameters = sum(int(parameter.count_nonzero()) for parameter in buffer.parameters.values())
    assert buffer.weights.count_nonzero() == in_parameters < len(buffer.weights)


# --- an optimizer of several rules ----------------------------------------------------------------


def build_three_rules() -> tuple[Optimizer, dict[str, FlatBuffer]]:
    parts = random_parameters()
    buffers = {name: FlatBuffer({name: part}, CPU_CONFIG) for name, part in parts.items()}
    rules: dict[str, UpdateRule] = {
        "a": Muon(buffers["a"], 0.1, ALL_ON, CPU_CONFIG),
        "b": AdamW(buffers["b"], 1.0, 0.9, 0.99, 1e-8, 0.1),
        "c": SGD(buffers["c"]),
    }
    return Optimizer(rules), buffers


def update(
    optimizer: Optimizer, buffers: dict[str, FlatBuffer], gradients: dict[str, Tensor], loss: float = 1.0
) -> Tensor:
    for name, buffer in buffers.items():
        fill(buffer, {name: gradients[name]})
    return optimizer.step(torch.tensor(loss), hyperparameters())


def tensor_bytes(optimizer: Optimizer) -> dict[str, bytes]:
    tensors = {**optimizer.parameters(), **optimizer.state()}
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}


def test_an_update_returns_the_loss_and_the_norm_of_the_whole_gradient() -> None:
    optimizer, buffers = build_three_rules()
    gradients = random_parameters(2)
    for name, buffer in buffers.items():
        fill(buffer, {name: gradients[name]})
    loss, norm = optimizer.step(torch.tensor(1.75), hyperparameters()).tolist()
    assert loss == 1.75
    assert norm == pytest.approx(math.hypot(*(x for part in gradients.values() for x in part.flatten().tolist())))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["a", "b", "c", "loss"])
def test_an_update_with_a_nonfinite_loss_or_gradient_changes_nothing(bad: float, where: str) -> None:
    optimizer, buffers = build_three_rules()
    update(optimizer, buffers, random_parameters(2))
    before = tensor_bytes(optimizer)
    gradients = random_parameters(3)
    if where != "loss":
        gradients[where].view(-1)[1] = bad
    results = update(optimizer, buffers, gradients, bad if where == "loss" else 1.0)
    assert tensor_bytes(optimizer) == before
    assert not math.isfinite(results[0 if where == "loss" else 1])
    update(optimizer, buffers, random_parameters(4))  # and the skipped update leaves no trace
    other, other_buffers = build_three_rules()
    for seed in (2, 4):
        update(other, other_buffers, random_parameters(seed))
    assert tensor_bytes(optimizer) == tensor_bytes(other) != before


def test_a_masked_update_changes_nothing() -> None:
    optimizer, buffers = build_three_rules()
    for name, buffer in buffers.items():
        fill(buffer, {name: random_parameters(2)[name]})
    before = tensor_bytes(optimizer)
    optimizer.step(torch.tensor(1.0), hyperparameters(apply_update=0.0))
    assert tensor_bytes(optimizer) == before
    optimizer.step(torch.tensor(1.0), hyperparameters())
    after = tensor_bytes(optimizer)
    assert [name for name in before if after[name] == before[name]] == []


def test_zero_grad_clears_gradients_in_place() -> None:
    optimizer, buffers = build_three_rules()
    update(optimizer, buffers, random_parameters(2))
    optimizer.zero_grad()
    assert all(buffer.gradients.count_nonzero() == 0 for buffer in buffers.values())
    assert all(parameter.grad is not None for parameter in optimizer.parameters().values())
