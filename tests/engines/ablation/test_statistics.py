"""The arithmetic of "more than noise", against tables, hand-computed cases and what must hold for any numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.ablation.statistics import (
    ALPHA,
    correct,
    holm,
    paired_difference,
    spread,
    t_quantile,
    t_within,
    with_interval,
)

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
    found = with_interval(paired_difference([1.0, 2.0, 3.0]), ALPHA)
    assert found.spread.mean == 2.0
    assert found.p == pytest.approx(1 - (2 * math.sqrt(3)) / math.sqrt(12 + 2), abs=1e-12)  # closed form for two
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)


def test_a_single_pair_and_equal_differences_cannot_be_tested() -> None:
    assert paired_difference([0.5]).p is None
    tie = [4.1 - 4.2, 3.1 - 3.2, 5.1 - 5.2]  # -0.1 three times, but for the rounding of the scores
    assert len(set(tie)) > 1
    for equal in ([0.5, 0.5, 0.5], [-100.0, -100.0, -100.0], tie):
        (found,) = correct([paired_difference(equal)])
        assert (found.p, found.p_corrected, found.low, found.high) == (None, None, None, None)


def test_runs_with_equal_scores_show_no_difference() -> None:
    (found,) = correct([paired_difference([0.0, 0.0, 0.0])])
    assert found.p == found.p_corrected == 1.0 and found.low is None


@given(st.lists(st.lists(finite, min_size=3, max_size=3), max_size=6), st.integers(0, 5))
def test_an_interval_excludes_zero_exactly_where_the_corrected_p_is_significant(
    families: list[list[float]], without_p: int
) -> None:
    for values, found in zip(families, correct([paired_difference(one) for one in families], without_p), strict=True):
        if found.low is None or found.high is None or found.p_corrected is None:
            continue
        slack = 1e-9 * (1 + max(map(abs, values)))
        assert found.low - slack <= found.spread.mean <= found.high + slack
        excludes_zero = not found.low <= 0 <= found.high
        assert excludes_zero == (found.p_corrected < ALPHA) or found.p_corrected == pytest.approx(ALPHA, abs=1e-6)


def test_comparisons_without_a_p_count_as_the_largest() -> None:
    (found,) = correct([paired_difference([1.0, 2.0, 3.0])], without_p=2)
    assert found.p is not None and found.p_corrected == pytest.approx(3 * found.p)
    wide, narrow = found, with_interval(paired_difference([1.0, 2.0, 3.0]), ALPHA)
    assert wide.low is not None and narrow.low is not None and wide.low < narrow.low


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert holm([0.2, 0.9]) == [0.4, 0.9] and holm([]) == [] and holm([0.5]) == [0.5]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_a_correction_never_makes_a_difference_of_none(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))
    in_order = sorted(zip(ps, adjusted, strict=True))
    assert [q for _, q in in_order] == sorted(q for _, q in in_order)
