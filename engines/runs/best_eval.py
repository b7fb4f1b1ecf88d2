"""The criterion for a run's best evaluation, shared by summaries, tables and checkpoints."""

import math
from collections.abc import Mapping


def is_better(bpb: float | None, best: float | None) -> bool:
    """Return whether an evaluation is the new best; one that is not finite never is."""
    return bpb is not None and math.isfinite(bpb) and (best is None or bpb < best)


def find_best_step(bpb: Mapping[int, float | None]) -> int | None:
    """Return the step of the best evaluation, the first of equals; None if there is none."""
    best: int | None = None
    for step in sorted(bpb):
        if is_better(bpb[step], None if best is None else bpb[best]):
            best = step
    return best
