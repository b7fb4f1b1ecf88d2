"""Muon equals a plain reference, and each of its options has the documented effect."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.linalg import matrix_norm, svdvals, vector_norm

from engines.tensor.devices import DeviceConfig
from engines.tensor.optim.flat_buffers import FlatBuffer
from engines.tensor.optim.muon import Muon, MuonOptions
from engines.tensor.optim.optimizer import DeviceHyperparameters

ON, OFF = MuonOptions(*[True] * 5), MuonOptions(*[False] * 5)
SHAPES = [(6, 6), (12, 5), (4, 9), (1, 7), (7, 1)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def cpu_config(dtype: torch.dtype = torch.float64, is_compiled: bool = False) -> DeviceConfig:
    return DeviceConfig(torch.device("cpu"), dtype, torch.promote_types(dtype, torch.float32), is_compiled, [])


def build_muon(matrices: Tensor, weight_decay: float, options: MuonOptions, config: DeviceConfig) -> Muon:
    buffer = FlatBuffer({str(index): matrix for index, matrix in enumerate(matrices)}, config)
    return Muon(buffer, weight_decay, options, config)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def train(
    weights: Tensor,
    gradients: list[Tensor],
    options: MuonOptions = ON,
    weight_decay: float = 0.0,
    dtype: torch.dtype = torch.float64,
    **hyperparameters: float,
) -> Tensor:
    """Return (K, m, n) weights after an update by each of the gradients."""
    muon = build_muon(weights, weight_decay, options, cpu_config(dtype))
    for gradient in gradients:
        update(muon, gradient, **hyperparameters)
    return muon.buffer.stack(muon.buffer.weights).clone()


def update(muon: Muon, gradient: Tensor, is_valid: bool = True, **hyperparameters: float) -> None:
    at = {"lr": 0.1, "momentum": 0.9, "weight_decay_multiplier": 1.0, "apply_update": 1.0, **hyperparameters}
    muon.buffer.gradients.copy_(gradient.flatten())
    muon.update(
        DeviceHyperparameters(*(torch.tensor(at[name], dtype=torch.float64) for name in DeviceHyperparameters._fields)),
        torch.tensor(is_valid),
    )


def compute_update(gradient: Tensor, **how: Any) -> Tensor:
    """Return the first update of one zero matrix, without learning rate and shape factor."""
    rows, columns = gradient.shape
    moved = train(torch.zeros(1, rows, columns), [gradient[None]], **{"momentum": 0.0, "lr": 1.0, **how})[0]
    return -moved / math.sqrt(max(1.0, rows / columns))


def plain_muon(weights: Tensor, gradients: list[Tensor], decay: float, lr: float, momentum: float) -> Tensor:
    """Update one matrix by the formulas of Jordan et al."""
    rows, columns = weights.shape
    average = torch.zeros_like(weights)
    for gradient in gradients:
        average = momentum * average + (1 - momentum) * gradient
        x = momentum * average + (1 - momentum) * gradient
        x = x / (1.01 * x.square().sum().sqrt() + 1e-6)
        if rows > columns:
            x = x.T
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
        if rows > columns:
            x = x.T
        lr_here = lr * max(1.0, rows / columns) ** 0.5
        weights = weights - lr_here * decay * weights - lr_here * x
    return weights


@every_shape
@settings(deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 999), steps=st.integers(1, 4), decay=st.sampled_from([0.0, 0.2]), momentum=st.floats(0, 0.99)
)
def test_muon_with_every_option_off_equals_the_plain_formulas(
    shape: tuple[int, int], seed: int, steps: int, decay: float, momentum: float
) -> None:
    weights = random(seed, 3, *shape)
    gradients = [random(seed + step, 3, *shape) for step in range(1, steps + 1)]
    found = train(weights, gradients, OFF, decay, momentum=momentum)
    for index in range(3):
        expected = plain_muon(weights[index], [gradient[index] for gradient in gradients], decay, 0.1, momentum)
        torch.testing.assert_close(found[index], expected, rtol=0, atol=1e-12)


@every_shape
def test_a_buffer_updates_each_matrix_as_if_it_were_alone(shape: tuple[int, int]) -> None:
    weights, gradients = random(1, 4, *shape), [random(seed, 4, *shape) for seed in (2, 3, 4)]
    together = train(weights, gradients, weight_decay=0.1)
    for index in range(4):
        one = slice(index, index + 1)
        alone = train(weights[one], [gradient[one] for gradient in gradients], weight_decay=0.1)
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@pytest.mark.parametrize(("express", "lowest", "highest"), [(True, 0.85, 1.15), (False, 0.6, 1.25)])
def test_an_update_is_nearly_orthogonal(shape: tuple[int, int], express: bool, lowest: float, highest: float) -> None:
    for seed in range(20):
        left, _, right = torch.linalg.svd(random(seed, *shape), full_matrices=False)
        stretched = torch.linspace(0.05, 1.0, min(shape), dtype=torch.float64)
        found = svdvals(compute_update(left * stretched @ right, options=OFF._replace(polar_express=express)))
        assert found.min() > lowest and found.max() < highest


def test_polar_express_is_closer_to_orthogonal_than_the_quintic() -> None:
    def distance(express: bool) -> float:
        found = svdvals(compute_update(random(3, 16, 16), options=OFF._replace(polar_express=express)))
        return float((found - 1).square().mean())

    assert distance(True) < distance(False) / 2


@every_shape
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_a_renormalized_update_has_the_norm_of_an_orthogonal_matrix(shape: tuple[int, int], scale: float) -> None:
    gradient = scale * random(1, *shape)
    found = compute_update(gradient, options=OFF._replace(renormalization=True))
    assert float(matrix_norm(found)) == pytest.approx(math.sqrt(min(shape)), rel=1e-6)


def test_without_renormalization_the_norm_differs() -> None:
    assert abs(float(matrix_norm(compute_update(random(1, 6, 6), options=OFF))) - math.sqrt(6)) > 0.05


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@settings(deadline=None, max_examples=10)
@given(st.data())
def test_row_equilibration_makes_an_update_independent_of_the_scale_of_rows(
    shape: tuple[int, int], data: st.DataObject
) -> None:
    factors = data.draw(st.lists(st.floats(0.01, 100.0), min_size=shape[0], max_size=shape[0]))
    gradient = random(1, *shape)
    scaled = torch.tensor(factors, dtype=torch.float64)[:, None] * gradient
    equal = OFF._replace(row_equilibration=True)
    torch.testing.assert_close(
        compute_update(scaled, options=equal), compute_update(gradient, options=equal), rtol=0, atol=1e-4
    )


def test_without_row_equilibration_an_update_depends_on_the_scale_of_rows() -> None:
    gradient = random(1, 6, 6)
    scaled = torch.tensor([1.0, 1, 1, 1, 1, 20], dtype=torch.float64)[:, None] * gradient
    assert (compute_update(scaled, options=OFF) - compute_update(gradient, options=OFF)).abs().max() > 0.1


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_variance_reduction_keeps_the_norm_and_equalizes_the_longer_dimension(shape: tuple[int, int]) -> None:
    usual = compute_update(random(1, *shape), options=OFF)
    even = compute_update(random(1, *shape), options=OFF._replace(variance_reduction=True))
    assert float(matrix_norm(even)) == pytest.approx(float(matrix_norm(usual)))
    over = 1 if shape[0] >= shape[1] else 0
    sizes, usual_sizes = vector_norm(even, dim=over), vector_norm(usual, dim=over)
    assert sizes.max() / sizes.min() < 1 + 1e-6 < usual_sizes.max() / usual_sizes.min()


def test_neurons_with_large_past_updates_change_less() -> None:
    unusual = random(1, 1, 12, 4)
    loud = unusual.clone()
    loud[:, 0] *= 50  # the first neuron had large updates before
    options = OFF._replace(variance_reduction=True)

    def last_move(before: Tensor) -> Tensor:
        start = torch.zeros(1, 12, 4)
        first = train(start, [before], options, momentum=0.0)
        return train(start, [before, unusual], options, momentum=0.0)[0] - first[0]

    assert vector_norm(last_move(loud)[0]) < 0.8 * vector_norm(last_move(unusual)[0])


# --- decay ----------------------------------------------------------------------------------------

WEIGHTS_AND_GRADIENT = [random(1, 1, 5, 5), random(2, 1, 5, 5)]


def measure_decay(cautious: bool, left: float = 1.0) -> Tensor:
    """Return the change by the weight decay of one update."""
    weights, gradient = WEIGHTS_AND_GRADIENT
    options = OFF._replace(cautious_decay=cautious)
    without = train(weights, [gradient], options, 0.0, weight_decay_multiplier=left)
    return without - train(weights, [gradient], options, 0.5, weight_decay_multiplier=left)


def test_decay_shrinks_every_weight_by_the_same_factor() -> None:
    torch.testing.assert_close(measure_decay(cautious=False), 0.1 * 0.5 * WEIGHTS_AND_GRADIENT[0])


def test_cautious_decay_changes_only_weights_that_the_update_moves_towards_zero() -> None:
    weights, gradient = WEIGHTS_AND_GRADIENT
    step = train(weights, [gradient], OFF) - weights
    towards_zero = step * weights < 0
    assert 0 < towards_zero.sum() < 25
    torch.testing.assert_close(measure_decay(cautious=True), torch.where(towards_zero, 0.1 * 0.5 * weights, 0.0))


def test_cautious_decay_follows_its_schedule_and_plain_decay_does_not() -> None:
    torch.testing.assert_close(measure_decay(cautious=True, left=0.25), 0.25 * measure_decay(cautious=True))
    torch.testing.assert_close(measure_decay(cautious=False, left=0.25), measure_decay(cautious=False))


# --- zero gradients and rounding ------------------------------------------------------------------


@every_shape
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_zero_gradient_changes_no_weight(shape: tuple[int, int], dtype: torch.dtype) -> None:
    weights = random(1, 2, *shape).float().double()
    assert torch.equal(train(weights, [torch.zeros(2, *shape)] * 2, dtype=dtype).double(), weights)


@pytest.mark.parametrize("options", [ON, OFF], ids=["on", "off"])
def test_bfloat16_matmuls_keep_weights_in_float32_and_the_update_accurate(
    options: MuonOptions,
) -> None:
    gradient = random(1, 32, 32)
    moved = train(torch.zeros(1, 32, 32), [gradient[None]], options, dtype=torch.bfloat16, lr=1.0, momentum=0.0)
    assert moved.dtype == torch.float32
    exact = compute_update(gradient, options=options)
    cosine_similarity = float((-moved[0].double() * exact).sum() / matrix_norm(moved[0].double()) / matrix_norm(exact))
    assert cosine_similarity > 0.99


# --- compiled code --------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("g++"), reason="g++ is not installed")
@pytest.mark.filterwarnings("default")  # warnings of the compiler are no errors of this program
def test_compiled_updates_share_three_graphs_for_all_shapes_and_equal_eager_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", False)  # saves a third of the compile time
    torch._dynamo.reset()
    counts = torch._dynamo.utils.counters["stats"]
    before = counts["unique_graphs"]
    for shape in [(24, 24, 24), (6, 48, 12), (6, 12, 48), (3, 3, 12), (2, 8, 8)]:
        weight_decay = 1 / shape[0]
        plain, compiled = (
            build_muon(random(1, *shape), weight_decay, ON, cpu_config(is_compiled=on)) for on in (False, True)
        )
        for step in range(4):
            for muon in (plain, compiled):
                update(
                    muon, random(2 + step, *shape), is_valid=step != 2, lr=0.1 / (1 + step), momentum=0.8 + step / 20
                )
        torch.testing.assert_close(compiled.buffer.weights, plain.buffer.weights, rtol=1e-9, atol=1e-9)
        for name, expected in plain.state().items():
            torch.testing.assert_close(compiled.state()[name], expected, rtol=1e-9, atol=1e-9)
    # one graph before the matmuls, and one after them for either longer dimension
    assert counts["unique_graphs"] - before == 3
