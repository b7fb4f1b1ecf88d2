"""Statistics against printed tables, hand calculations and properties that hold for any numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.ablation.statistics import (
    ALPHA,
    add_confidence_interval,
    adjust_for_comparisons,
    central_probability,
    compute_spread,
    holm_adjust,
    paired_t_test,
    two_sided_quantile,
)

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("freedom", "printed"),
    [(1, "12.706"), (2, "4.303"), (3, "3.182"), (4, "2.776"), (9, "2.262"), (10, "2.228"), (30, "2.042")],
)
def test_quantiles_match_printed_tables(freedom: int, printed: str) -> None:
    assert f"{two_sided_quantile(0.95, freedom):.3f}" == printed


@given(st.floats(0, 100), st.integers(1, 40))
def test_the_central_probability_increases_with_t(t: float, freedom: int) -> None:
    assert 0 <= central_probability(t, freedom) <= central_probability(t + 1, freedom) + 1e-12 <= 1 + 1e-12


def test_many_degrees_of_freedom_approach_the_normal_distribution() -> None:
    assert central_probability(1.959964, 10_000) == pytest.approx(0.95, abs=1e-4)


def test_a_spread_matches_a_hand_calculation() -> None:
    found = compute_spread([2.0, 4.0, 9.0])
    assert (found.n, found.mean) == (3, 5.0)
    assert found.sd == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert compute_spread([3.0]).sd is None


def test_a_paired_t_test_matches_a_hand_calculation() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/√3, t = 2√3 with two degrees of freedom, p = 0.0742."""
    found = add_confidence_interval(paired_t_test([1.0, 2.0, 3.0]), ALPHA)
    assert found.spread.mean == 2.0
    assert found.p == pytest.approx(1 - (2 * math.sqrt(3)) / math.sqrt(12 + 2), abs=1e-12)  # closed form for two
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)


def test_a_single_pair_and_equal_differences_cannot_be_tested() -> None:
    assert paired_t_test([0.5]).p is None
    tie = [4.1 - 4.2, 3.1 - 3.2, 5.1 - 5.2]  # -0.1 three times, but for the rounding of the scores
    assert len(set(tie)) > 1
    for equal in ([0.5, 0.5, 0.5], [-100.0, -100.0, -100.0], tie):
        (found,) = adjust_for_comparisons([paired_t_test(equal)])
        assert (found.p, found.p_corrected, found.low, found.high) == (None, None, None, None)


def test_runs_with_equal_scores_show_no_difference() -> None:
    (found,) = adjust_for_comparisons([paired_t_test([0.0, 0.0, 0.0])])
    assert found.p == found.p_corrected == 1.0 and found.low is None


@given(st.lists(st.lists(finite, min_size=3, max_size=3), max_size=6), st.integers(0, 5))
def test_an_interval_excludes_zero_exactly_if_the_adjusted_p_is_significant(
    families: list[list[float]], without_p: int
) -> None:
    for values, found in zip(
        families, adjust_for_comparisons([paired_t_test(one) for one in families], without_p), strict=True
    ):
        if found.low is None or found.high is None or found.p_corrected is None:
            continue
        slack = 1e-9 * (1 + max(map(abs, values)))
        assert found.low - slack <= found.spread.mean <= found.high + slack
        excludes_zero = not found.low <= 0 <= found.high
        assert excludes_zero == (found.p_corrected < ALPHA) or found.p_corrected == pytest.approx(ALPHA, abs=1e-6)


def test_comparisons_without_a_p_count_as_one() -> None:
    (found,) = adjust_for_comparisons([paired_t_test([1.0, 2.0, 3.0])], without_p=2)
    assert found.p is not None and found.p_corrected == pytest.approx(3 * found.p)
    wide, narrow = found, add_confidence_interval(paired_t_test([1.0, 2.0, 3.0]), ALPHA)
    assert wide.low is not None and narrow.low is not None and wide.low < narrow.low


def test_holm_matches_a_hand_calculation() -> None:
    assert holm_adjust([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert holm_adjust([0.2, 0.9]) == [0.4, 0.9] and holm_adjust([]) == [] and holm_adjust([0.5]) == [0.5]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_adjusted_p_values_are_never_smaller_and_keep_their_order(ps: list[float]) -> None:
    adjusted = holm_adjust(ps)
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))
    in_order = sorted(zip(ps, adjusted, strict=True))
    assert [q for _, q in in_order] == sorted(q for _, q in in_order)
