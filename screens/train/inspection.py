"""Inspects a checkpoint of the scalar engine in a process of its own, which takes seconds."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from engines.system.subprocesses import python_path
from screens.shared.background import in_background

_MODULE = "engines.scalar.inspection"


class InspectionTarget(NamedTuple):
    """A checkpoint folder, and the text that the model is run on."""

    checkpoint: str
    text: str


Inspect = Callable[[InspectionTarget, str], Awaitable[dict[str, Any]]]


async def inspect_in_subprocess(target: InspectionTarget, node: str, module: str = _MODULE) -> dict[str, Any]:
    """Return the JSON object that `module` prints; with a `node`, it contains the computation graph of that value.

    A failure is an object with the key `error`. Cancelling the task kills the process.
    """
    command = [sys.executable, "-P", "-m", module, *target, *([node] if node else [])]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    started: list[subprocess.Popen[bytes]] = []

    def run() -> bytes:
        """Wait for the process in a thread, even if the task that started it is cancelled."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
            started.append(process)
            return process.communicate()[0]

    try:
        output = await in_background(run)
    except asyncio.CancelledError:
        for process in started:
            process.kill()
        raise
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": f"Inspection failed: its process exited with code {started[0].returncode}."}
    return result
