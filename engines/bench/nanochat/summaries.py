"""Summaries of measurements: percentiles, and the time at which a curve reaches a value."""

from collections.abc import Sequence
from statistics import median, quantiles


def compute_percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 10th and 90th percentiles."""
    if len(values) < 2:
        return {"median": values[0], "p10": values[0], "p90": values[0]}
    tenths = quantiles(values, n=10, method="inclusive")
    return {"median": median(values), "p10": tenths[0], "p90": tenths[-1]}


def find_first_reaching(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    """Return the seconds of the first point (seconds, bits per byte) at or below the target; None if there is none.

    It is not interpolated: the result was measured, and is at most one interval too late.
    """
    return next((seconds for seconds, bpb in curve if bpb <= target), None)
