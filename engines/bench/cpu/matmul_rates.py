"""Rates of matrix products on this CPU: `python -m engines.bench.cpu.matmul_rates SECONDS` prints them as JSON."""

import json
import sys
from collections.abc import Mapping
from typing import NamedTuple

from engines.system import cpu

DTYPES = ("float32", "bfloat16")


class MatmulRates(NamedTuple):
    """FLOP/s by dtype and number of threads."""

    rates: Mapping[str, Mapping[int, float]]

    def at(self, dtype: str) -> float:
        """Return the higher of the rates with one thread and with all; that of float32 for an unknown dtype."""
        return max(self.rates.get(dtype, self.rates["float32"]).values())


def format_threads(threads: int) -> str:
    """Return "1 thread" or the like."""
    return f"{threads} thread{'s' * (threads != 1)}"


def parse_rates(printed: Mapping[str, Mapping[str, float]]) -> MatmulRates:
    """Return the rates that `main` printed."""
    return MatmulRates({dtype: {int(n): rate for n, rate in rates.items()} for dtype, rates in printed.items()})


def main(seconds: float) -> None:
    """Measure each dtype with one thread and with all, each for some seconds, and print the rates."""
    import torch

    from engines.bench.machine import measure_matmul_flops

    rates: dict[str, dict[int, float]] = {dtype: {} for dtype in DTYPES}
    for threads in sorted({1, cpu.usable_cores()}):
        torch.set_num_threads(threads)
        for dtype in DTYPES:
            rates[dtype][threads] = measure_matmul_flops("cpu", getattr(torch, dtype), seconds)
    print(json.dumps(rates))


if __name__ == "__main__":
    main(float(sys.argv[1]))
