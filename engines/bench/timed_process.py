"""Times whole processes, as a person would meet them: started from nothing, their bytecode cached."""

import os
import subprocess
import time
from collections.abc import Sequence


def run(command: Sequence[str]) -> tuple[str, float]:
    """What the command printed, and its seconds from before its start to after its end."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return result.stdout.decode(), time.perf_counter() - started
