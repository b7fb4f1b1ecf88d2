"""Durations and sizes: the unit suits the value, and values that are missing or not finite are named."""

import math
import time

import pytest

from engines.output.units import format_age, format_bytes, format_clock, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "0 s"), (0.4, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7200.0, "2.0 h"), (200_000.0, "2.3 d"),
     (math.inf, "unknown"), (math.nan, "unknown"), (None, "–")],
)  # fmt: skip
def test_a_duration_has_the_unit_that_suits_it(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "00:00:00"), (59.9, "00:00:59"), (3723.0, "01:02:03"), (90_000.0, "25:00:00"), (864_000.0, "10.0 d"),
     (math.inf, "–"), (None, "–")],
)  # fmt: skip
def test_a_clock_shows_hours_minutes_and_seconds(seconds: float | None, text: str) -> None:
    assert format_clock(seconds) == text


def test_an_age_is_the_time_since_creation() -> None:
    assert format_age(time.time() - 119) == "1 min" and format_age(time.time() - 9000) == "2.5 h"
    assert format_age(time.time() - 50) == format_age(time.time() + 60) == "< 1 min"
    assert format_age(None) == format_age(0.0) == "–"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 19, "1.5 MiB"), (1 << 40, "1,024.0 GiB")]
)
def test_a_size_has_the_unit_that_suits_it(count: int, text: str) -> None:
    assert format_bytes(count) == text
