"""The best of a run's evaluations: one criterion for every summary, table and kept checkpoint."""

import math
from collections.abc import Mapping


def is_better(bpb: float | None, best: float | None) -> bool:
    """Whether an evaluation of so many bits per byte is the new best; never if it is not finite."""
    return bpb is not None and math.isfinite(bpb) and (best is None or bpb < best)


def best_step(bpb: Mapping[int, float | None]) -> int | None:
    """The step of the best evaluation, the first of equals; None if there is none."""
    best: int | None = None
    for step in sorted(bpb):
        if is_better(bpb[step], None if best is None else bpb[best]):
            best = step
    return best
