"""Text for the values of a study: settings, scores, differences with their intervals, and verdicts."""

import math
from typing import Any

from engines.ablation.analysis import Analysis, CellReport
from engines.ablation.statistics import PairedDifference, Spread

_MIN_DIGITS, _MAX_DIGITS = 4, 8


def format_value(value: Any) -> str:
    """Format the value of a setting; booleans and None in lower case, as they are typed."""
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def format_spread(spread: Spread | None) -> str:
    """Format mean ± standard deviation."""
    if spread is None:
        return ""
    return f"{spread.mean:.4f}" + ("" if spread.sd is None else f" ± {spread.sd:.4f}")


def format_difference(difference: PairedDifference | None) -> str:
    """Format the mean difference and its confidence interval: `+0.1000 [-0.0200, +0.2200]`."""
    if difference is None:
        return ""
    digits = _choose_digits(difference)
    mean = f"{difference.spread.mean:+.{digits}f}"
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"


def format_verdict(cell: CellReport) -> str:
    """Format the verdict, with the number of seeds that had this outcome unless all had it."""
    count = cell.outcomes.get(cell.verdict, len(cell.results))
    return cell.verdict + (f" ({count} of {len(cell.results)})" if count < len(cell.results) else "")


def format_integer(value: float | None) -> str:
    """Format a count with thousands separators; empty if unknown."""
    return "" if value is None else f"{value:,.0f}"


def format_comparisons(analysis: Analysis) -> str:
    """Format the number of comparisons: `5 comparisons`."""
    count = analysis.comparisons
    return f"{count} comparison{'s' * (count != 1)}"


def format_p(value: float | None) -> str:
    """Format a p-value with two digits; empty if there is none."""
    return "" if value is None else f"{value:.2g}"


def _choose_digits(difference: PairedDifference) -> int:
    """Return enough decimals to distinguish the ends of the interval from its middle."""
    width = (difference.high or 0.0) - (difference.low or 0.0)
    return min(_MAX_DIGITS, max(_MIN_DIGITS, 1 - math.floor(math.log10(width)))) if width > 0 else _MIN_DIGITS
