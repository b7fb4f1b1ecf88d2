"""Generated command lines as separate processes, with real workers."""

import contextlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from faults.campaign import Part, Tally
from faults.command_lines import check_call, command_lines, prepare
from faults.generated import generated
from faults.sandbox import Call

_LONGEST_LINE = 60.0  # seconds before a line counts as a hang
_LONG_TRAINING = ("train", "ablate", "resume", "reproduce")


def one_unit(chance: random.Random, index: int, folder: Path) -> Tally:
    """Try ten generated lines; training is limited to a few steps."""
    place = prepare(folder)
    violations: list[str] = []
    lines = generated(chance, command_lines(), 10)
    for drawn in lines:
        words = [word for word in drawn if "\0" not in word]  # no process can be given one
        violations += check_call(words, _process(_short(words), place))
    _kill_remaining_processes(place)
    shutil.rmtree(place)
    shutil.copytree(folder / "lines-template", place, symlinks=True)
    return Tally(len(lines), violations)


def _kill_remaining_processes(place: Path) -> None:
    """Kill workers and queues of lines with --detach, or of lines that were stopped after their time limit."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(place) in word for word in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(_LONGEST_LINE)


def _short(words: list[str]) -> list[str]:
    """Add a time budget to commands that would train for long; the last of equal flags counts."""
    if words[:1] and words[0] in ("train", "ablate") and "--" not in words:
        return [*words, "--time-budget", "1s", "--seeds=1"] if words[0] == "ablate" else [*words, "--time-budget", "1s"]
    return words


def _process(words: list[str], place: Path) -> Call:
    command = [sys.executable, "-m", "nanochat_tui", "--no-ui", *words]
    process = subprocess.Popen(
        command, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace",
    )  # fmt: skip
    try:
        out, error = process.communicate(timeout=_LONGEST_LINE)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, error = process.communicate()
        is_training = words[:1] and words[0] in _LONG_TRAINING  # that is no hang: it stopped when it was asked to
        failure = "" if is_training else f"it ran for {_LONGEST_LINE:.0f} s"
        return Call(process.returncode, out, error, failure)
    return Call(process.returncode, out, error, "")


PART = Part("any command line as a process of its own ends with a documented exit code and a sentence", 2_000, one_unit)
