"""Durations and sizes in a unit that suits them, the same in every view and every command."""

import math
import time

NOT_KNOWN = "–"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400  # seconds
_BYTE_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def format_duration(seconds: float | None) -> str:
    """Format a duration to two or three digits: "45 s", "12 min", "3.4 h", "2.3 d".

    Negative durations, which a clock that was set back produces, are "0 s"; None is "–", infinity and NaN "unknown".
    """
    if seconds is None:
        return NOT_KNOWN
    if not math.isfinite(seconds):
        return "unknown"
    seconds = max(0.0, seconds)
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:,.1f} d"


def format_age(created_at: float | None) -> str:
    """Format the time since `created_at`, in seconds since the epoch; "–" if it is not known (None or 0).

    Whole minutes are the finest unit, so that a table of runs is not repainted every second.
    """
    if not created_at:
        return NOT_KNOWN
    seconds = time.time() - created_at
    if seconds >= 2 * _HOUR:
        return format_duration(seconds)
    return f"{seconds // _MINUTE:.0f} min" if seconds >= _MINUTE else "< 1 min"


def format_clock(seconds: float | None) -> str:
    """Format a duration to the second: "01:02:03"; days from 100 hours on, "–" for None, infinity and NaN."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_KNOWN
    if seconds >= 100 * _HOUR:
        return f"{seconds / _DAY:,.1f} d"
    whole = int(max(0.0, seconds))
    return f"{whole // _HOUR:02}:{whole // _MINUTE % 60:02}:{whole % 60:02}"


def format_bytes(count: float) -> str:
    """Format a number of bytes: "512 B", "1.5 MiB"."""
    for unit, size in _BYTE_UNITS:
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:.0f} B"
