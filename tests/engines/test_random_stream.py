"""Randomness: the same everywhere, unbiased, and permutations that are bijections."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.random_stream import Permutation, RandomStream


def test_the_stream_is_splitmix64() -> None:
    stream = RandomStream(0)
    stream.state = 0  # the published generator starts from its seed as it is
    assert [stream.u64() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_seeds_and_purposes_give_unrelated_streams() -> None:
    firsts = {RandomStream(seed, purpose).u64() for seed in range(50) for purpose in ("", "a", "b", "ab", "ba")}
    assert len(firsts) == 250


def test_state_is_all_there_is_to_save() -> None:
    stream = RandomStream(3)
    stream.u64()
    again = RandomStream(99)
    again.state = stream.state
    assert [stream.u64() for _ in range(5)] == [again.u64() for _ in range(5)]


def test_below_is_uniform() -> None:
    stream = RandomStream(1)
    counts = Counter(stream.below(6) for _ in range(60_000))
    assert set(counts) == set(range(6)) and all(abs(count - 10_000) < 500 for count in counts.values())


@given(low=st.floats(-10, 10), width=st.floats(0.001, 10), seed=st.integers(0, 1 << 64))
def test_uniform_stays_within_its_bounds(low: float, width: float, seed: int) -> None:
    assert low <= RandomStream(seed).uniform(low, low + width) <= low + width


@given(size=st.integers(1, 3000), seed=st.integers(0, 1 << 64))
def test_a_permutation_is_a_bijection(size: int, seed: int) -> None:
    order = Permutation(size, seed)
    assert sorted(map(order, range(size))) == list(range(size))


def test_a_permutation_of_a_billion_needs_no_memory() -> None:
    order = Permutation(10**9, 7)
    assert len({order(index) for index in range(1000)}) == 1000


@pytest.mark.parametrize("size", [10, 1000])
def test_a_permutation_puts_everything_everywhere(size: int) -> None:
    places = Counter(Permutation(size, seed)(0) * 10 // size for seed in range(2000))
    assert all(120 < places[tenth] < 280 for tenth in range(10))
