"""Measure CPU time, memory, output and response times of the dashboard, from outside through a terminal."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from engines.bench import synthetic_worker
from engines.bench.report import Figure, Report
from engines.runs.launch import launch
from engines.runs.log import EventLog
from engines.runs.store import Run
from engines.training.create_run import create_run
from nanochat_tui.bench_ui import responses
from nanochat_tui.bench_ui.overlay import overlay
from nanochat_tui.bench_ui.terminal import Terminal

_LONG_RUN = 1_000_000
_FAST, _SLOW, _VERY_SLOW = 20_000, 100, 0.001  # steps per second
_WINDOW = 2_000  # steps in view after one key press, in a run of twice as many
_PRESSES = 60  # per key
_MEASURED = 20.0  # seconds
_STARTUP = 3.0  # seconds after which the app has finished starting
TAB_KEYS = {"g": "No guard alerts", "v": "No samples yet"}  # and a text of that tab alone


def measure(report_progress: Callable[[str], None]) -> Report:
    """Return all figures. `report_progress` is called with what is measured next."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_STATE_HOME"] = temporary  # so that no runs and studies of other directories are listed
        for what, measure_part in (
            (f"keys while a run writes {_FAST:,} steps per second", _measure_keys),
            (f"a run of {_LONG_RUN:,} steps", _measure_long_run),
            ("a run of one day", _measure_day),
            ("the form and the help", responses.form),
            ("first visits", responses.first_visits),
            ("many ended runs in view", responses.idle),
            ("thousands of runs", responses.many),
            ("the overlay of long runs", overlay),
            ("a folder that hangs", responses.hanging),
            (f"a running run at {_SLOW} steps per second", _measure_running_run),
        ):
            report_progress(what)
            folder = Path(temporary) / measure_part.__name__
            folder.mkdir()
            figures += measure_part(folder)
        report_progress("redrawing")
        figures += asyncio.run(_measure_redraws())
    return Report("The dashboard", "nanochat-tui --no-ui bench ui", figures)


def _measure_keys(folder: Path) -> list[Figure]:
    """Measure key presses while a run writes as fast as it can, and after its writer was killed."""
    run = _create_run(folder, steps=100_000_000)
    writer = _start_writer(run, _FAST)
    with Terminal(["attach", run.id, "--results-dir", str(folder)]) as terminal:
        try:
            terminal.wait_for("RUNNING")
            time.sleep(_STARTUP)
            loaded = _measure_presses(terminal)
        finally:
            writer.kill()
            writer.wait()
        time.sleep(_STARTUP)
        idle = _measure_presses(terminal)
    return [
        Figure("key press to painted response, idle", "ms", idle),
        Figure(f"the same, while a run writes {_FAST:,} steps/s", "ms", loaded),
        Figure("median of these above idle", "ms", [_quantile(loaded, 0.5) - _quantile(idle, 0.5)], 5),
        Figure("99th percentile above that of idle", "ms", [_quantile(loaded, 0.99) - _quantile(idle, 0.99)], 20),
    ]


def _measure_long_run(folder: Path) -> list[Figure]:
    """Measure opening a long run, and the memory with it open."""
    run = _create_run(folder, _LONG_RUN)
    log = EventLog(run.events_path, time.time())
    synthetic_worker.write_start(log)
    synthetic_worker.write_steps(log, 1, _LONG_RUN, _FAST)
    log.emit("ended", reason="finished", step=_LONG_RUN, exit_code=0, detail=None, traceback=None)
    log.flush()
    opened = []
    for _ in range(5):
        with Terminal(["runs", "--results-dir", str(folder)]) as terminal:
            terminal.wait_for(run.id)
            time.sleep(_STARTUP)
            opened.append(terminal.press("\r", until="100.0 %"))
            memory = _measure_memory(terminal)
    return [
        Figure(f"opening a run of {_LONG_RUN:,} steps", "s", opened, 1),
        Figure("memory with it open", "MiB", [memory]),
    ]


def _measure_day(folder: Path) -> list[Figure]:
    """Measure the memory after all steps of a day were shown, written as fast as possible."""
    steps = _SLOW * 24 * 3600
    run = _create_run(folder, steps)
    writer = _start_writer(run, _VERY_SLOW, past=steps)
    with Terminal(["attach", run.id, "--results-dir", str(folder)]) as terminal:
        try:
            terminal.wait_for("RUNNING")
            terminal.wait_for(f"{steps:,} / ", timeout=600)
            time.sleep(_STARTUP)
            memory = _measure_memory(terminal)
        finally:
            writer.kill()
            writer.wait()
    return [Figure(f"memory after a day of {_SLOW} steps/s ({steps:,} steps)", "MiB", [memory])]


def _measure_running_run(folder: Path) -> list[Figure]:
    """Measure CPU time and output while a run is followed."""
    run = _create_run(folder, steps=1_000_000)
    writer = _start_writer(run, _SLOW, past=2 * _WINDOW)
    with Terminal(["attach", run.id, "--results-dir", str(folder)]) as terminal:
        try:
            terminal.wait_for("RUNNING")
            time.sleep(2 * _STARTUP)
            cpu, wire = _measure_load(terminal)
            terminal.press("+", until="zoomed")
            scrolling = _measure_load(terminal)[1]
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    return [
        Figure(f"CPU, following a run at {_SLOW} steps/s", "% of a core", [cpu], 5),
        Figure("output to the terminal", "KiB/s", [wire], 10),
        Figure(f"output to the terminal, scrolling a window of {_WINDOW:,} steps", "KiB/s", [scrolling], 40),
    ]


async def _measure_redraws() -> list[Figure]:
    """Measure the CPU time of redrawing the chart, in this process."""
    from textual.app import App

    from screens.chart import SERIES, Chart

    class Bare(App[None]):
        def get_theme_variable_defaults(self) -> dict[str, str]:
            return SERIES

    losses = [2 + synthetic_worker.NOISE[step % 4096] for step in range(_LONG_RUN)]
    app = Bare()
    async with app.run_test(size=(120, 40)) as pilot:
        chart = Chart()
        await app.mount(chart)
        chart.data.add_line("loss", "loss")
        chart.data.extend_line("loss", 1, losses)
        spent = []
        for step in range(_LONG_RUN + 1, _LONG_RUN + 21):
            chart.data.extend_line("loss", step, [2.0])
            before = time.process_time()
            chart.redraw()
            await pilot.pause()
            spent.append(1e3 * (time.process_time() - before))
    return [Figure(f"redrawing {_LONG_RUN:,} steps, CPU time", "ms", spent, 10)]


def _create_run(folder: Path, steps: int) -> Run:
    return create_run({"steps": steps, "data": "names"}, folder)


def _start_writer(run: Run, rate: float, past: int = 0) -> subprocess.Popen[bytes]:
    return launch(
        run, "engines.bench.synthetic_worker", {synthetic_worker.RATE: str(rate), synthetic_worker.PAST: str(past)}
    )


def _measure_presses(terminal: Terminal) -> list[float]:
    """Return the milliseconds of each key press."""
    times = []
    for _ in range(_PRESSES):
        for key, text in TAB_KEYS.items():
            times.append(1e3 * terminal.press(key, text))
            time.sleep(0.05)
    return times


def _measure_load(terminal: Terminal) -> tuple[float, float]:
    """Return CPU usage in percent of a core, and output in KiB per second."""
    process = psutil.Process(terminal.process.pid)
    before, painted = process.cpu_times(), terminal.bytes_painted
    time.sleep(_MEASURED)
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return 100 * spent / _MEASURED, (terminal.bytes_painted - painted) / 1024 / _MEASURED


def _measure_memory(terminal: Terminal) -> float:
    """Return the resident memory in MiB."""
    return float(psutil.Process(terminal.process.pid).memory_info().rss) / 2**20


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
