"""What the dashboard costs, and how soon it answers: measured from outside, behind a terminal, as a person meets it."""

import asyncio
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
_FAST, _CALM, _ALMOST_STILL = 20_000, 100, 0.001  # steps a second
_SCROLLED = 2_000  # steps: one key from a run that is twice as long
_PRESSES = 60  # of each of two keys
_WATCHED = 20.0  # seconds
_SETTLED = 3.0  # seconds after which an app has done all that starting needs
_GUARDS, _SAMPLES = ("g", "no guard has tripped"), ("v", "it has not spoken yet")  # keys, and what only they paint


def measure(say: Callable[[str], None]) -> Report:
    """All figures; `say` hears what is being measured."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as temporary:
        for what, of in (
            (f"keys while a run writes {_FAST:,} steps a second", _keys),
            (f"a run of {_LONG_RUN:,} steps", _long_run),
            ("a day", _day),
            ("the form and the help", responses.form),
            ("first visits", responses.first_visits),
            ("many ended runs in view", responses.idle),
            ("thousands of runs", responses.many),
            ("the overlay of long runs", overlay),
            ("a folder that hangs", responses.hanging),
            (f"a live run at {_CALM} steps a second", _live_run),
        ):
            say(what)
            folder = Path(temporary) / of.__name__
            folder.mkdir()
            figures += of(folder)
        say("redrawing")
        figures += asyncio.run(_redraws())
    return Report("The dashboard", "nanochat-tui --no-ui bench ui", figures)


def _keys(folder: Path) -> list[Figure]:
    """One session: while a run writes as fast as it can, and when its writer is dead."""
    run = _run(folder, steps=100_000_000)
    writer = _writer(run, _FAST)
    with Terminal(["attach", run.id, "--results-dir", str(folder)]) as terminal:
        try:
            terminal.wait_for("RUNNING")
            time.sleep(_SETTLED)
            busy = _presses(terminal)
        finally:
            writer.kill()
            writer.wait()
        time.sleep(_SETTLED)
        idle = _presses(terminal)
    return [
        Figure("key to painted answer, idle", "ms", idle),
        Figure(f"the same while a run writes {_FAST:,} steps/s", "ms", busy),
        Figure("median of these above idle", "ms", [_quantile(busy, 0.5) - _quantile(idle, 0.5)], 5),
        Figure("99th percentile above that of idle", "ms", [_quantile(busy, 0.99) - _quantile(idle, 0.99)], 20),
    ]


def _long_run(folder: Path) -> list[Figure]:
    run = _run(folder, _LONG_RUN)
    log = EventLog(run.events_path, time.time())
    synthetic_worker.begin(log)
    synthetic_worker.write_steps(log, 1, _LONG_RUN, _FAST)
    log.emit("ended", reason="finished", step=_LONG_RUN, exit_code=0, detail=None, traceback=None)
    log.flush()
    opened = []
    for _ in range(5):
        with Terminal(["runs", "--results-dir", str(folder)]) as terminal:
            terminal.wait_for(run.id)
            time.sleep(_SETTLED)
            opened.append(terminal.press("\r", until="100.0 %"))
            memory = _memory(terminal)
    return [
        Figure(f"opening a run of {_LONG_RUN:,} steps", "s", opened, 1),
        Figure("memory with it open", "MiB", [memory]),
    ]


def _day(folder: Path) -> list[Figure]:
    """Memory when a day's steps have been watched, written as fast as they can be."""
    steps = _CALM * 24 * 3600
    run = _run(folder, steps)
    writer = _writer(run, _ALMOST_STILL, past=steps)
    with Terminal(["attach", run.id, "--results-dir", str(folder)]) as terminal:
        try:
            terminal.wait_for("RUNNING")
            terminal.wait_for(f"{steps:,} / ", patience=600)
            time.sleep(_SETTLED)
            memory = _memory(terminal)
        finally:
            writer.kill()
            writer.wait()
    return [Figure(f"memory after a day of {_CALM} steps/s ({steps:,} steps)", "MiB", [memory])]


def _live_run(folder: Path) -> list[Figure]:
    run = _run(folder, steps=1_000_000)
    writer = _writer(run, _CALM, past=2 * _SCROLLED)
    with Terminal(["attach", run.id, "--results-dir", str(folder)]) as terminal:
        try:
            terminal.wait_for("RUNNING")
            time.sleep(2 * _SETTLED)
            cpu, wire = _watch(terminal)
            terminal.press("+", until="zoomed")
            scrolling = _watch(terminal)[1]
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    return [
        Figure(f"processor, watching {_CALM} steps/s", "% of a core", [cpu], 5),
        Figure("to the terminal", "KiB/s", [wire], 10),
        Figure(f"to the terminal, a window of {_SCROLLED:,} steps that scrolls", "KiB/s", [scrolling], 40),
    ]


async def _redraws() -> list[Figure]:
    """Processor time of drawing the chart anew, in this process."""
    from textual.app import App

    from screens.chart import SERIES, Chart

    class Bare(App[None]):
        def get_theme_variable_defaults(self) -> dict[str, str]:
            return SERIES

    losses = [2 + synthetic_worker._NOISE[step % 4096] for step in range(_LONG_RUN)]
    app = Bare()
    async with app.run_test(size=(120, 40)) as pilot:
        chart = Chart()
        await app.mount(chart)
        chart.add_line("loss", "loss")
        chart.extend("loss", 1, losses)
        spent = []
        for step in range(_LONG_RUN + 1, _LONG_RUN + 21):
            chart.extend("loss", step, [2.0])
            before = time.process_time()
            chart.redraw()
            await pilot.pause()
            spent.append(1e3 * (time.process_time() - before))
    return [Figure(f"drawing {_LONG_RUN:,} steps anew, processor time", "ms", spent, 10)]


def _run(folder: Path, steps: int) -> Run:
    return create_run({"steps": steps, "data": "names"}, folder)


def _writer(run: Run, rate: float, past: int = 0) -> subprocess.Popen[bytes]:
    return launch(
        run, "engines.bench.synthetic_worker", {synthetic_worker.RATE: str(rate), synthetic_worker.PAST: str(past)}
    )


def _presses(terminal: Terminal) -> list[float]:
    """Milliseconds of each press."""
    times = []
    for _ in range(_PRESSES):
        for key, text in (_GUARDS, _SAMPLES):
            times.append(1e3 * terminal.press(key, text))
            time.sleep(0.05)
    return times


def _watch(terminal: Terminal) -> tuple[float, float]:
    """The part of a core that the dashboard takes, in percent, and the KiB a second that it paints."""
    process = psutil.Process(terminal.process.pid)
    before, painted = process.cpu_times(), terminal.bytes_painted
    time.sleep(_WATCHED)
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return 100 * spent / _WATCHED, (terminal.bytes_painted - painted) / 1024 / _WATCHED


def _memory(terminal: Terminal) -> float:
    """MiB."""
    return float(psutil.Process(terminal.process.pid).memory_info().rss) / 2**20


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
