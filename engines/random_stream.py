"""Seeded random integers: the same numbers on every machine and with every Python version.

Everything random that must be reproducible (initial weights, data order, generated corpora, sampling) uses this module;
the standard library's generators do not guarantee it.
"""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FEISTEL_ROUNDS = 4  # four rounds make a strong pseudorandom permutation (Luby and Rackoff, 1988)


def mix(value: int) -> int:
    """Return a 64-bit hash: the finaliser of SplitMix64 (Steele, Lea, Flood, 2014)."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class RandomStream:
    """A SplitMix64 generator. Its whole state is `state`, a 64-bit integer."""

    def __init__(self, seed: int, purpose: str = "") -> None:
        """Streams with the same seed but different purposes are independent."""
        state = mix(seed)
        for byte in purpose.encode():
            state = mix(state + _GOLDEN + byte)
        self.state = state

    def u64(self) -> int:
        """Return a uniform 64-bit integer."""
        self.state = (self.state + _GOLDEN) & _MASK
        return mix(self.state)

    def below(self, n: int) -> int:
        """Return a uniform integer in [0, n), without bias (Lemire, 2019). `n` must be at least 1."""
        product = self.u64() * n
        if product & _MASK < n:
            threshold = (1 << 64) % n
            while product & _MASK < threshold:
                product = self.u64() * n
        return product >> 64

    def unit(self) -> float:
        """Return a uniform float in [0, 1) with 53 random bits."""
        return (self.u64() >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Return a uniform float in [low, high)."""
        return low + (high - low) * self.unit()


class Permutation:
    """A keyed permutation of range(size), with random access and without memory.

    A Feistel network on as many bits as `size` needs; outcomes past `size` are enciphered again until they fall
    inside (cycle walking: Black and Rogaway, 2002). Its rounds hash by multiply-shift (Dietzfelbinger, 1997).
    """

    def __init__(self, size: int, seed: int, purpose: str = "") -> None:
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._right_bits = bits // 2
        stream = RandomStream(seed, purpose)
        # Rounds alternate: each hashes one half of the number into the other, with the width of the other.
        widths = (bits - self._right_bits, self._right_bits)
        self._rounds = [(stream.u64(), stream.u64() | 1, 64 - widths[turn % 2]) for turn in range(_FEISTEL_ROUNDS)]

    def __call__(self, index: int) -> int:
        right_bits = self._right_bits
        right_mask = (1 << right_bits) - 1
        while True:
            left, right = index >> right_bits, index & right_mask
            for offset, factor, shift in self._rounds:
                left, right = right, left ^ (((right + offset) * factor & _MASK) >> shift)
            index = (left << right_bits) | right
            if index < self.size:
                return index
