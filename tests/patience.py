"""Deadlines of tests: one factor for machines of any speed.

A test waits for a condition, never for a fixed time, and fails when the condition has not come true after `PATIENCE`
seconds. On a slow or busy machine set NANOCHAT_TUI_TEST_PATIENCE to a factor, such as 5.
"""

import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("NANOCHAT_TUI_TEST_PATIENCE", "1"))
PATIENCE = 60.0 * FACTOR  # seconds
TEST_TIMEOUT = 300.0 * FACTOR  # seconds of a whole test, with its fixtures


def wait_until(condition: Callable[[], object], describe: Callable[[], object] = lambda: "") -> None:
    """Return when `condition` holds; AssertionError with a description of the situation when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain: {describe()}"
        time.sleep(0.005)
