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

    A Feistel network on as many bits as `size` needs; outcomes past `size` are enciphered again until they fall
    inside (cycle walking: Black and Rogaway, 2002). Its rounds hash by multiply-shift (Dietzfelbinger, 1997).
    """

    def __init__(self, size: int, seed: int, purpose: str = "") -> None:
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._right_bits = bits // 2
        stream = RandomStream(seed, purpose)
        # Each round hashes one part of the number into the other, in turns: the hash has the other's width.
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
