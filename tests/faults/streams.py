"""Circumstances: closed streams, deleted folders, concurrent launchers, clock steps, and many running runs."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from builders import events_of, write_text

from engines.errors import UserError
from engines.runs import control, launch, liveness
from engines.runs.history import read_history
from engines.runs.lookup import list_runs
from engines.runs.store import Run
from engines.training.create_run import create_run
from faults.campaign import Part, Tally
from faults.kills import _LONGEST
from faults.sandbox import call

LIVE_RUNS = 50
_CODES = {0, 1, 2, 3, 4, 5, 130, 141, 143}
_QUICK = {"steps": 200, "batch_size": 2, "context_length": 4, "eval_every": 50, "sample_tokens": 8}
_ENDLESS = {**_QUICK, "steps": 1_000_000, "eval_every": 0, "checkpoint_every": 100_000}
_CLOSED = ("<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-")


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Try one circumstance; the one with many running runs comes every fortieth time."""
    place = folder / f"unit-{index}"
    place.mkdir()
    if index % 40 == 39:
        return many_running_runs(place, LIVE_RUNS)
    act = (closed_streams, deleted_folder, racing_launchers, clock_steps)[index % 4]
    return act(chance, place)


PART = Part("closed streams, deleted folders, races and clock steps never cost a run its data", 200, one_unit)


def _new_run(place: Path, **given: object) -> Run:
    return create_run({"data": str(write_text(place)), **_QUICK, **given}, place / "results")


def closed_streams(chance: random.Random, place: Path) -> Tally:
    """Start a detached run with closed standard streams: its worker holds the lock, and a second one cannot start."""
    write_text(place)
    closed = chance.choice(_CLOSED)
    words = "train --data text.txt --steps 1000000 --batch-size 2 --sample-tokens 0 --eval-every 0 --detach"
    found = _with_closed(f"{words} {closed}", place)
    runs = list_runs(place / "results")
    if not runs:
        return Tally(1, found)
    try:
        if not _wait_for_step(runs[0]):
            return Tally(1, [*found, f"train {closed}: the run never made a step"])
        if not liveness.is_lock_held(runs[0].lock_path):
            found.append(f"train {closed}: the worker does not hold the lock")
        for command in ("runs", "show last", "resume last --detach"):
            found += _with_closed(f"{command} {closed}", place)
        if len(events_of(runs[0], "run")) != 1:
            found.append(f"train {closed}: a second worker started on the same run")
    finally:
        _stop(runs)
    return Tally(1, found)


def _with_closed(command: str, place: Path) -> list[str]:
    """Run a command whose streams the shell closes; return a description of a wrong ending; empty if it is right."""
    shell = f'"$0" -m nanochat_tui --no-ui {command}'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable], cwd=place, capture_output=True, text=True, timeout=_LONGEST
    )
    if "Traceback" in done.stderr:
        return [f"{command}: {done.stderr.strip().splitlines()[-1]}"]
    return [] if done.returncode in _CODES else [f"{command}: exit code {done.returncode}"]


def deleted_folder(chance: random.Random, place: Path) -> Tally:
    """Delete the launch folder, the run's folder or its parts during a run: no other run is affected."""
    start = place / "launched-here"
    start.mkdir()
    write_text(start)
    other = _new_run(place)
    launch.launch(other).wait(_LONGEST)
    words = ["train", "--data", "text.txt", "--steps", "20000", "--batch-size", "2", "--eval-every", "2000"]
    command = [sys.executable, "-m", "nanochat_tui", "--no-ui", *words, "--results-dir", str(place / "live")]
    process = subprocess.Popen(command, cwd=start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + _LONGEST
    while not (runs := list_runs(place / "live")) or not read_history(runs[0]).step:
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            return Tally(1, [f"a run did not start: {process.communicate()[1][-300:]}"])
        time.sleep(0.01)
    gone = {
        "the launch folder": start,
        "the run's folder": runs[0].path,
        "the control folder": runs[0].control_dir,
        "the checkpoints": runs[0].path / "checkpoints",
    }
    name = chance.choice(list(gone))
    shutil.rmtree(gone[name], ignore_errors=True)
    try:
        _, error = process.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        return Tally(1, [f"{name} deleted: the command never ended"])
    found = []
    if "Traceback" in error:
        found.append(f"{name} deleted: {error.strip().splitlines()[-1]}")
    if process.returncode not in _CODES:
        found.append(f"{name} deleted: exit code {process.returncode}")
    if name in ("the launch folder", "the control folder") and process.returncode != 0:
        found.append(f"{name} deleted: a healthy run ended with {process.returncode}: {error[-200:]}")
    if liveness.derive_state(other, read_history(other)) != "finished":
        found.append(f"{name} deleted: another run was harmed")
    return Tally(1, found)


def racing_launchers(chance: random.Random, place: Path) -> Tally:
    """Resume one run in several processes at once: one worker trains, and the others are refused."""
    run = _new_run(place, **{**_ENDLESS, "checkpoint_every": 2_000})
    worker = launch.launch(run)
    _wait_for_step(run)
    worker.kill()
    worker.wait()
    words = [sys.executable, "-m", "nanochat_tui", "--no-ui", "resume", run.id, "--detach"]
    racers = [
        subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(chance.randint(2, 5))
    ]
    errors = [racer.communicate(timeout=_LONGEST)[1] for racer in racers]
    codes = sorted(racer.returncode for racer in racers)
    try:
        found = [] if 0 in codes and _CODES.issuperset(codes) else [f"racing launchers: exit codes {codes}"]
        found += [f"racing launchers: {error.strip().splitlines()[-1]}" for error in errors if "Traceback" in error]
        if len(events_of(run, "run")) > 2:
            found.append("racing launchers: several workers wrote to one run")
    finally:
        _stop([run])
    return Tally(1, found)


def clock_steps(chance: random.Random, place: Path) -> Tally:
    """Let the clock of a worker jump by up to ten years: its curve is complete and its times never decrease."""
    run = _new_run(place)
    jumps = ",".join(str(chance.choice((-1, 1)) * 10 ** chance.randint(1, 8)) for _ in range(4))
    worker = launch.launch(run, "stepping_clock_worker", {"CLOCK_STEPS": jumps})
    if worker.wait(_LONGEST) != 0:
        return Tally(1, [f"clock steps of {jumps} s: the run ended with {worker.returncode}"])
    history = read_history(run)
    found = [] if history.step == _QUICK["steps"] else [f"clock steps of {jumps} s: {history.step} steps are recorded"]
    if any(seconds < 0 for seconds in history.seconds):
        found.append(f"clock steps of {jumps} s: a step took negative time")
    for words in (("runs",), ("show", run.id)):
        done = call("--no-ui", *words, "--results-dir", str(place / "results"))
        if done.failure or done.code != 0:
            found.append(f"clock steps of {jumps} s: {words[0]} failed: {done.failure or done.stderr}")
    return Tally(1, found)


def many_running_runs(place: Path, number: int) -> Tally:
    """Show many running runs in one viewer: each is listed, paused and stopped by its own state."""
    runs = []
    try:
        for _ in range(number):
            run = _new_run(place, **_ENDLESS)
            launch.launch(run)
            runs.append(run)
            _wait_for_step(run)
            control.send_request(run.control_dir, "pause")
        deadline = time.monotonic() + _LONGEST
        while True:
            listed = call("--no-ui", "runs", "--json", "--results-dir", str(place / "results"))
            states = [json.loads(line)["state"] for line in listed.stdout.splitlines()]
            if states == ["paused"] * number:
                return Tally(number, [])
            if time.monotonic() > deadline:
                return Tally(
                    number, [f"{number} paused runs are listed as {sorted(set(states))}, {len(states)} in all"]
                )
            time.sleep(0.1)
    finally:
        _stop(runs)


def _wait_for_step(run: Run) -> bool:
    deadline = time.monotonic() + _LONGEST
    while not read_history(run).step:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _stop(runs: list[Run]) -> None:
    """Stop running runs: their number of steps is unlimited."""
    for run in runs:
        try:
            if liveness.is_lock_held(run.lock_path):
                os.kill(events_of(run, "run")[-1]["pid"], 9)
        except (OSError, UserError, IndexError):
            continue
