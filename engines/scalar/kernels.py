"""Dot products of Python floats, written out for each length: fast, and added from left to right.

`sum` is no substitute: since Python 3.12 it compensates rounding, so last bits would differ between versions.
"""

import functools
from collections.abc import Callable, Sequence

Vector = Sequence[float]
_TERMS = 32  # terms in one expression: long ones nest too deep for the compiler


@functools.cache
def dot_kernel(length: int) -> Callable[[Vector, Vector], float]:
    """A function of two vectors of `length` floats: their dot product."""
    lines = ["def dot(a, b):", " s = 0.0"]
    for begin in range(0, length, _TERMS):
        terms = (f"a[{i}]*b[{i}]" for i in range(begin, min(begin + _TERMS, length)))
        lines.append(f" s = s + {' + '.join(terms)}" if begin else f" s = {' + '.join(terms)}")
    lines.append(" return s")
    namespace: dict[str, Callable[[Vector, Vector], float]] = {}
    exec("\n".join(lines), namespace)
    return namespace["dot"]
