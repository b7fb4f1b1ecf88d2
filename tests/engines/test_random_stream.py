"""Random streams: reproducible and unbiased, and permutations are bijections."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.random_stream import Permutation, RandomStream


def test_the_stream_is_splitmix64() -> None:
    stream = RandomStream(0)
    stream.state = 0  # the published generator starts from its seed as it is
    assert [stream.u64() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_seeds_and_purposes_give_independent_streams() -> None:
    firsts = {RandomStream(seed, purpose).u64() for seed in range(50) for purpose in ("", "a", "b", "ab", "ba")}
    assert len(firsts) == 250


def test_a_stream_is_restored_from_its_state() -> None:
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
def test_a_permutation_maps_every_index_to_every_position(size: int) -> None:
    places = Counter(Permutation(size, seed)(0) * 10 // size for seed in range(2000))
    assert all(120 < places[tenth] < 280 for tenth in range(10))


def test_the_numbers_of_a_seed_and_purpose_are_reproducible() -> None:
    """Recorded values: if they change, nothing of earlier versions can be reproduced."""
    stream = RandomStream(1337, "weights")
    assert [stream.u64() for _ in range(2)] == [11991688579464268100, 11462468467354595148]
    assert [stream.below(1000) for _ in range(4)] == [913, 974, 474, 583]
    assert stream.uniform(-1.0, 1.0) == -0.9334716693175167
    assert list(map(Permutation(10, 1337, "split"), range(10))) == [5, 1, 3, 9, 8, 6, 4, 0, 2, 7]


def test_below_accepts_the_smallest_and_largest_bound() -> None:
    stream = RandomStream(2)
    assert {stream.below(1) for _ in range(20)} == {0}
    assert all(0 <= stream.below((1 << 64) - 1) < (1 << 64) - 1 for _ in range(20))
    threes = sum(stream.below(3 << 62) % 3 == 0 for _ in range(9000))
    assert abs(threes - 3000) < 200  # were no draw thrown away it would be 4500
