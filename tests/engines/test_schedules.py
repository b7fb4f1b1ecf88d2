"""Learning rate schedules: warmup, plateau, warmdown, and the ancestor's rounding."""

import pytest

from engines.schedules import lr_multiplier, round_half_up


def curve(horizon: int, schedule: str, warmup: float = 0.0, warmdown: float = 0.5, final: float = 0.0) -> list[float]:
    return [lr_multiplier(step, horizon, schedule, warmup, warmdown, final) for step in range(horizon)]


def test_halves_are_rounded_up_where_python_rounds_to_even() -> None:
    assert [round_half_up(x) for x in (0.5, 1.5, 2.5, 2.4)] == [1, 2, 3, 2]


def test_linear_holds_until_the_middle_and_then_falls_as_the_ancestors() -> None:
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


def test_constant_stays_and_the_final_fraction_is_a_floor() -> None:
    assert set(curve(10, "constant")) == {1.0}
    assert lr_multiplier(10, 10, "linear", 0.0, 0.5, 0.1) == pytest.approx(0.1)


def test_a_horizon_of_nothing_is_no_error() -> None:
    assert lr_multiplier(0, 0, "linear", 0.0, 0.5, 0.0) == 1.0
