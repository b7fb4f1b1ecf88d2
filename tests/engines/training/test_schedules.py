"""Schedules: warmup, plateau and warmdown of the learning rate as in the Rust program, momentum and weight decay."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.settings.resolve import resolve
from engines.training.schedules import get_lr_multiplier, get_momentum, get_weight_decay_multiplier, round_half_up


def curve(horizon: int, schedule: str, warmup: float = 0.0, warmdown: float = 0.5, final: float = 0.0) -> list[float]:
    return [get_lr_multiplier(step, horizon, schedule, warmup, warmdown, final) for step in range(horizon)]


def test_halves_are_rounded_up_where_python_rounds_to_even() -> None:
    assert [round_half_up(x) for x in (0.5, 1.5, 2.5, 2.4)] == [1, 2, 3, 2]


def test_linear_is_constant_until_the_middle_and_then_falls_like_that_of_the_rust_program() -> None:
    assert curve(5, "linear") == pytest.approx([1.0, 1.0, 1.0, 2 / 3, 1 / 3])
    assert curve(4, "linear") == [1.0, 1.0, 1.0, 0.5]


def test_sqrt_and_cosine_fall_from_one_to_zero() -> None:
    assert curve(4, "sqrt")[3] == 1 - 0.5**0.5
    assert curve(4, "cosine")[3] == pytest.approx(0.5)
    for schedule in ("linear", "sqrt", "cosine"):
        values = curve(100, schedule)
        assert values == sorted(values, reverse=True) and 0 < values[-1] < 0.1


def test_warmup_rises_and_never_starts_at_zero() -> None:
    assert curve(10, "linear", warmup=0.4, warmdown=0.0)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_constant_schedule_stays_and_the_final_fraction_is_a_minimum() -> None:
    assert set(curve(10, "constant")) == {1.0}
    assert get_lr_multiplier(10, 10, "linear", 0.0, 0.5, 0.1) == pytest.approx(0.1)


def test_a_horizon_of_zero_steps_is_accepted() -> None:
    assert get_lr_multiplier(0, 0, "linear", 0.0, 0.5, 0.0) == 1.0


@pytest.mark.parametrize("schedule", ["linear", "sqrt"])
def test_every_horizon_has_the_curve_of_the_rust_program(schedule: str) -> None:
    for total in range(60):
        down = total // 2 + total % 2  # half of it, halves up
        for step in range(total + 1):
            left = {
                "linear": (total - step) / max(1, down),
                "sqrt": 1 - max(0, (step - total + down) / max(1, down)) ** 0.5,
            }
            expected = 1.0 if step <= total - down else left[schedule]
            assert get_lr_multiplier(step, total, schedule, 0.0, 0.5, 0.0) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=200)
@given(
    horizon=st.integers(0, 2000),
    schedule=st.sampled_from(["linear", "sqrt", "cosine", "constant"]),
    warmup=st.floats(0, 1),
    cooling=st.floats(0, 1),
    final=st.floats(0, 1),
    step=st.integers(0, 3000),
)
def test_a_learning_rate_is_between_the_final_one_and_the_peak(
    horizon: int, schedule: str, warmup: float, cooling: float, final: float, step: int
) -> None:
    value = get_lr_multiplier(step, horizon, schedule, warmup, (1 - warmup) * cooling, final)
    is_warm = step >= round_half_up(warmup * horizon)
    assert 0 <= value <= 1 and (value >= final - 1e-12 if is_warm else value > 0)


def momenta(steps: int, **given: object) -> list[float]:
    settings = resolve({"model_kind": "gpt", "steps": steps, **given})
    return [get_momentum(step, steps, settings) for step in range(steps + 1)]


def test_momentum_rises_for_400_steps_holds_and_falls_with_the_learning_rate() -> None:
    values = momenta(1000, warmdown_fraction=0.5)
    assert values[:401] == pytest.approx([0.85 + 0.12 * step / 400 for step in range(401)])
    assert set(values[400:501]) == {0.97}
    assert values[500:] == pytest.approx([0.97 - 0.07 * step / 500 for step in range(501)])


def test_the_momentum_of_a_short_run_is_at_its_peak_when_the_warmdown_begins() -> None:
    values = momenta(100, warmdown_fraction=0.6)
    assert values[0] == 0.85 and values[40] == max(values) == 0.97 and values[100] == pytest.approx(0.90)
    assert values[:41] == sorted(values[:41]) and values[40:] == sorted(values[40:], reverse=True)


def test_momentum_without_a_schedule_is_constant() -> None:
    assert set(momenta(50, momentum_schedule=False)) == {0.95}


@pytest.mark.parametrize("down", [0.0, 1.0])
def test_momentum_stays_in_its_bounds_without_a_warmdown_and_with_nothing_else(down: float) -> None:
    for steps in (0, 1, 2, 30):
        values = momenta(steps, warmdown_fraction=down, warmup_fraction=0.0)
        assert all(0.85 <= value <= 0.97 for value in values)


def test_weight_decay_follows_half_a_cosine() -> None:
    assert [get_weight_decay_multiplier(step, 4) for step in (0, 1, 2, 4, 9)] == pytest.approx(
        [1.0, 0.5 + math.sqrt(0.125), 0.5, 0.0, 0.0]
    )
    assert get_weight_decay_multiplier(0, 0) == 1.0
