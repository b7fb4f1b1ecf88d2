"""Timing of whole processes, from start to exit, with cached bytecode as a user has it."""

import os
import subprocess
import time
from collections.abc import Sequence


def run_timed(command: Sequence[str]) -> tuple[str, float]:
    """Run a command; return its stdout and its duration in seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return result.stdout.decode(), time.perf_counter() - started
