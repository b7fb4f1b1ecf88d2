"""Seeded integer randomness: the same numbers on every machine and every Python version.

Everything random in the lab that has to repeat (initial weights, order of data, generated
corpora, sampling) draws from here; the standard library's generators promise less.
"""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FEISTEL_ROUNDS = 4  # four rounds make a strong pseudorandom permutation (Luby and Rackoff, 1988)


def mix(value: int) -> int:
    """A 64-bit hash: SplitMix64's finaliser (Steele, Lea, Flood, 2014)."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class RandomStream:
    """SplitMix64. `state`, one 64-bit integer, is all there is to save and restore."""

    def __init__(self, seed: int, purpose: str = "") -> None:
        """Streams of one seed but different purposes are unrelated."""
        state = mix(seed)
        for byte in purpose.encode():
            state = mix(state + _GOLDEN + byte)
        self.state = state

    def u64(self) -> int:
        self.state = (self.state + _GOLDEN) & _MASK
        return mix(self.state)

    def below(self, n: int) -> int:
        """A uniform integer in [0, n), without bias (Lemire, 2019). `n` is at least 1."""
        product = self.u64() * n
        if product & _MASK < n:
            threshold = (1 << 64) % n
            while product & _MASK < threshold:
                product = self.u64() * n
        return product >> 64

    def unit(self) -> float:
        """A uniform float in [0, 1) with 53 random bits."""
        return (self.u64() >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """A uniform float in [low, high)."""
        return low + (high - low) * self.unit()


class Permutation:
    """A keyed bijection of range(size): random access, no memory.

    A balanced Feistel network on the next even number of bits; outcomes past `size` are
    enciphered again until they fall inside (cycle walking: Black and Rogaway, 2002).
    """

    def __init__(self, size: int, seed: int, purpose: str = "") -> None:
        self.size = size
        self._half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._half_mask = (1 << self._half_bits) - 1
        stream = RandomStream(seed, purpose)
        self._keys = [stream.u64() for _ in range(_FEISTEL_ROUNDS)]

    def __call__(self, index: int) -> int:
        half_bits, half_mask = self._half_bits, self._half_mask
        while True:
            left, right = index >> half_bits, index & half_mask
            for key in self._keys:
                left, right = right, left ^ (mix(right + key) & half_mask)
            index = (left << half_bits) | right
            if index < self.size:
                return index
