"""Response times of the dashboard under load: forms, first visits, many runs, a hanging folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from engines.bench import synthetic_worker
from engines.bench.report import Figure
from engines.runs.log import EventLog
from engines.runs.overview import LogDigest
from engines.runs.store import Run
from engines.training.create_run import create_run
from nanochat_tui.bench_ui.terminal import Terminal

_STARTUP = 3.0  # seconds after which the app has finished starting
_IDLE_RUNS, _MANY_RUNS = 600, 5000
_MEASURED = 15.0  # seconds
_REPETITIONS = 3
_TABS = 7  # form fields that apply to every run
SCREEN_KEYS = {"3": "Generate", "4": "No studies yet", "1": "Time budget"}  # and a text of that screen alone


# Source code that runs the program with reads of a manifest that never return.
HANGING = """
import sys, threading
def hang(event, arguments):
    if event == "open" and str(arguments[0]).endswith("config.json"):
        threading.Event().wait()
sys.addaudithook(hang)
from nanochat_tui.cli import main
sys.exit(main())
"""


def form(folder: Path) -> list[Figure]:
    """Measure the tab key in the form of a new run, and the help screen."""
    create_ended_runs(folder, 3)  # without any, the list would show those of other folders
    with Terminal(["runs", "--results-dir", str(folder)]) as terminal:
        terminal.wait_for("Runs", 60)
        time.sleep(_STARTUP)
        terminal.press("1", "Time budget", 30)
        time.sleep(1)
        tabs = [1e3 * terminal.press("\t", "--") for _ in range(_TABS)]  # the hint names the flag
        helps = []
        for _ in range(2 * _REPETITIONS):
            helps.append(1e3 * terminal.press("\x1bOP", "All screens"))
            terminal.send("\x1b")
            time.sleep(0.5)
    return [Figure("tab key in the form", "ms", tabs, 50), Figure("help screen", "ms", helps, 100)]


def first_visits(folder: Path) -> list[Figure]:
    """Measure the first switch to each screen."""
    create_ended_runs(folder, 3)
    visits = []
    for key, text in SCREEN_KEYS.items():
        for _ in range(_REPETITIONS):
            with Terminal(["runs", "--results-dir", str(folder)]) as terminal:
                terminal.wait_for("run-00000", 60)
                time.sleep(_STARTUP)
                visits.append(1e3 * terminal.press(key, text, 60))
    return [Figure("first visit of a screen", "ms", visits, 150)]


def idle(folder: Path) -> list[Figure]:
    """Measure the CPU usage with many ended runs in view."""
    create_ended_runs(folder, _IDLE_RUNS)
    with Terminal(["runs", "--results-dir", str(folder)]) as terminal:
        terminal.wait_for(f"Runs: {_IDLE_RUNS}", 120)
        time.sleep(2 * _STARTUP)
        process = psutil.Process(terminal.process.pid)
        spent = []
        for _ in range(_REPETITIONS):
            before = process.cpu_times()
            time.sleep(_MEASURED)
            after = process.cpu_times()
            spent.append(100 * (after.user + after.system - before.user - before.system) / _MEASURED)
    return [Figure(f"CPU, {_IDLE_RUNS} ended runs in view", "% of a core", spent, 1)]


def many(folder: Path) -> list[Figure]:
    """Measure the dashboard with as many runs as a year of studies creates."""
    create_ended_runs(folder, _MANY_RUNS)
    listed, spent, first, whole = [], [], [], []
    for _ in range(_REPETITIONS):
        before = time.perf_counter(), os.times()
        command = [sys.executable, "-m", "nanochat_tui", "--no-ui", "runs", "--results-dir", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        listed.append(time.perf_counter() - before[0])
        spent.append(after.children_user + after.children_system - before[1].children_user - before[1].children_system)
        started = time.perf_counter()
        with Terminal(["runs", "--results-dir", str(folder)]) as terminal:
            terminal.wait_for("run-0", 60)
            first.append(time.perf_counter() - started)
            terminal.wait_for(f"Runs: {_MANY_RUNS}", 120)
            whole.append(time.perf_counter() - started)
    return [
        Figure(f"`runs` of {_MANY_RUNS:,} runs", "s", listed, 1),
        Figure("the same, CPU time", "s", spent, 1),
        Figure(f"dashboard of {_MANY_RUNS:,} runs, start to first rows", "s", first, 1),
        Figure("start to all rows", "s", whole),
    ]


def hanging(folder: Path) -> list[Figure]:
    """Measure keys while a read of the results folder never returns."""
    create_ended_runs(folder, 1)
    keys = []
    with Terminal(["runs", "--results-dir", str(folder)], command=(sys.executable, "-c", HANGING)) as terminal:
        terminal.wait_for("Reading", 60)
        time.sleep(_STARTUP)
        terminal.press("3", SCREEN_KEYS["3"], 60)
        for _ in range(5):
            keys.append(1e3 * terminal.press("2", "Reading", 30))
            keys.append(1e3 * terminal.press("3", SCREEN_KEYS["3"], 30))
        started = time.perf_counter()
        terminal.send("q")
        terminal.process.wait(30)
        leaving = time.perf_counter() - started
    return [
        Figure("switching screens while the folder hangs", "ms", keys, 150),
        Figure("leaving while the folder hangs", "s", [leaving], 1),
    ]


def create_ended_runs(folder: Path, count: int, steps: int = 200) -> list[Run]:
    """Create ended runs that differ from the first only in name and age."""
    first = create_run({"steps": steps, "data": "names"}, folder)
    log = EventLog(first.events_path, time.time())
    synthetic_worker.write_start(log)
    synthetic_worker.write_steps(log, 1, steps, 1000)
    log.emit("ended", reason="finished", step=steps, exit_code=0, detail=None, traceback=None)
    log.flush()
    config = first.config
    runs = []
    for number in range(count):
        run = Run(first.path.parent / f"run-{number:05d}")
        shutil.copytree(first.path, run.path)
        run.write_config({**config, "run": run.id, "created_at": config["created_at"] - 60 * number})
        run.summary_path.write_text(json.dumps(LogDigest(run).store_in({"v": 1})))
        runs.append(run)
    shutil.rmtree(first.path)
    return runs
