"""Measure for how long the overlay of eight long runs blocks the dashboard, inside its process."""

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.bench.report import Figure
from nanochat_tui.bench_ui.responses import create_ended_runs
from nanochat_tui.dashboard import SWITCH_INTERVAL

_RUNS, _STEPS = 8, 300_000
_REPETITIONS = 3
_TIMEOUT = 120.0  # seconds


def overlay(folder: Path) -> list[Figure]:
    """Measure the longest handler while eight runs are read and drawn on one chart."""
    create_ended_runs(folder, _RUNS, _STEPS)
    longest, drawn = zip(*(asyncio.run(_open_overlay(folder)) for _ in range(_REPETITIONS)), strict=True)
    return [
        Figure(f"overlay of {_RUNS} × {_STEPS:,} steps, longest handler", "ms", list(longest), 50),
        Figure("the same, until all curves are drawn", "s", list(drawn)),
    ]


async def _open_overlay(folder: Path) -> tuple[float, float]:
    """Mark all runs and open the overlay.

    Return the milliseconds of the longest handler, and the seconds until all curves are drawn.
    """
    from screens.app import DashboardApp
    from screens.runs.screen import RunsScreen

    app = DashboardApp(folder, "runs")
    async with app.run_test(size=(120, 40)) as pilot:
        deadline = time.perf_counter() + _TIMEOUT
        while not isinstance(app.screen, RunsScreen) or app.screen.table.row_count < _RUNS:
            await _wait(deadline)
        screen = app.screen
        await pilot.press(*["space", "down"] * _RUNS)
        await pilot.pause()
        gc.freeze()
        try:
            with _time_handlers() as durations:
                started = time.perf_counter()
                await pilot.press("v")
                while screen.overlay.drawn_steps < _RUNS * _STEPS:
                    await _wait(deadline)
                drawn = time.perf_counter() - started
        finally:
            gc.unfreeze()
    return 1e3 * max(durations), drawn


async def _wait(deadline: float) -> None:
    if time.perf_counter() > deadline:
        raise RuntimeError(f"the overlay of {_RUNS} runs was not drawn within {_TIMEOUT:.0f} s")
    await asyncio.sleep(0.01)


@contextmanager
def _time_handlers() -> Iterator[list[float]]:
    """Collect the seconds of each callback of the event loop. A key press waits for the longest one."""
    run, interval = asyncio.events.Handle._run, sys.getswitchinterval()
    durations: list[float] = []

    def timed(handle: asyncio.events.Handle) -> None:
        started = time.perf_counter()
        run(handle)
        durations.append(time.perf_counter() - started)

    asyncio.events.Handle._run = timed  # type: ignore[method-assign, assignment]
    sys.setswitchinterval(SWITCH_INTERVAL)  # as in the dashboard
    try:
        yield durations
    finally:
        asyncio.events.Handle._run = run  # type: ignore[method-assign]
        sys.setswitchinterval(interval)
