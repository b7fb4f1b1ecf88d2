"""Numbers out of measurements: spreads, ratios, and when a curve reaches a value."""

from collections.abc import Sequence
from statistics import median, quantiles


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median and the middle eight tenths."""
    if len(values) < 2:
        return {"median": values[0], "p10": values[0], "p90": values[0]}
    tenths = quantiles(values, n=10, method="inclusive")
    return {"median": median(values), "p10": tenths[0], "p90": tenths[-1]}


def first_reaching(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    """The seconds of the first point (seconds, bits per byte) at or below the target; None where none is.

    Not interpolated: what is told was measured, and is at most one interval late.
    """
    return next((seconds for seconds, bpb in curve if bpb <= target), None)
