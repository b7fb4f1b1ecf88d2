"""The arithmetic of "more than noise", against tables, hand-computed cases and what must hold for any numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.ablation.statistics import bootstrap_interval, holm, paired_difference, spread, t_quantile, t_within

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("freedom", "printed"),
    [(1, "12.706"), (2, "4.303"), (3, "3.182"), (4, "2.776"), (9, "2.262"), (10, "2.228"), (30, "2.042")],
)
def test_t_is_that_of_the_printed_tables(freedom: int, printed: str) -> None:
    assert f"{t_quantile(0.95, freedom):.3f}" == printed


@given(st.floats(0, 100), st.integers(1, 40))
def test_t_holds_more_the_further_it_reaches(t: float, freedom: int) -> None:
    assert 0 <= t_within(t, freedom) <= t_within(t + 1, freedom) + 1e-12 <= 1 + 1e-12


def test_many_degrees_of_freedom_are_a_normal_distribution() -> None:
    assert t_within(1.959964, 10_000) == pytest.approx(0.95, abs=1e-4)


def test_a_spread_by_hand() -> None:
    found = spread([2.0, 4.0, 9.0])
    assert (found.n, found.mean) == (3, 5.0)
    assert found.sd == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert spread([3.0]).sd is None


def test_a_paired_difference_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/√3, t = 2√3 with two degrees of freedom, p = 0.0742."""
    found = paired_difference([1.0, 2.0, 3.0])
    assert found.spread.mean == 2.0
    assert found.p == pytest.approx(1 - (2 * math.sqrt(3)) / math.sqrt(12 + 2), abs=1e-12)  # closed form for two
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)


def test_one_pair_tells_nothing_and_equal_ones_everything() -> None:
    assert paired_difference([0.5]).p is None and paired_difference([0.5]).low is None
    assert paired_difference([0.0, 0.0]).p == 1.0
    assert paired_difference([0.5, 0.5, 0.5]).p == 0.0


@given(st.lists(finite, min_size=2, max_size=8))
def test_intervals_hold_the_mean_and_the_bootstrap_stays_within_the_values(values: list[float]) -> None:
    found = paired_difference(values)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert found.low is not None and found.high is not None and found.p is not None
    assert found.low - slack <= found.spread.mean <= found.high + slack
    low, high = bootstrap_interval(values)
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high) or found.p == pytest.approx(0.05, abs=1e-6)


def test_the_bootstrap_says_the_same_twice_and_is_near_the_normal_interval() -> None:
    values = [math.sin(index) for index in range(200)]
    assert bootstrap_interval(values, "a") == bootstrap_interval(values, "a") != bootstrap_interval(values, "b")
    found = spread(values)
    assert found.sd is not None
    low, high = bootstrap_interval(values)
    reach = 1.96 * found.sd / math.sqrt(200)
    assert low == pytest.approx(found.mean - reach, abs=0.15 * reach)
    assert high == pytest.approx(found.mean + reach, abs=0.15 * reach)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert holm([0.2, 0.9]) == [0.4, 0.9] and holm([]) == [] and holm([0.5]) == [0.5]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_a_correction_never_makes_a_difference_of_none(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))
    in_order = sorted(zip(ps, adjusted, strict=True))
    assert [q for _, q in in_order] == sorted(q for _, q in in_order)
