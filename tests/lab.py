"""Run commands of the program as real processes in a folder with a text and a results directory."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from builders import write_text
from patience import PATIENCE

from engines.runs.history import read_history
from engines.runs.lookup import list_runs
from engines.runs.store import Run

_ROOT = Path(__file__).resolve().parents[1]


class Lab:
    """A folder with a text and a results directory; call it to run a command in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.text = write_text(folder)
        self.environment = {**os.environ, "PYTHONPATH": str(_ROOT), "COLUMNS": "120"}

    def start(self, *words: str, **how: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "nanochat_tui", "--no-ui", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes)

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*words)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in stderr, stderr
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def on_text(self, command: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command that has the option --data."""
        return self(command, "--data", str(self.text), *words)

    def run(self) -> Run:
        return list_runs(self.results)[-1]

    def wait_for_steps(self, runs: int = 1) -> None:
        """Wait until this many runs have made a step."""
        deadline = time.monotonic() + PATIENCE
        while sum(bool(read_history(run).step) for run in list_runs(self.results)) < runs:
            assert time.monotonic() < deadline, "the runs never made a step"
            time.sleep(0.01)
