"""export: a run's steps and evaluations as files for other tools."""

import json
import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Self

from engines.interop import export as interop
from engines.reports.record import read_record
from engines.runs.store import find_run, results_dir
from nanochat_tui.commands import Options

_INTERVAL = 1.0  # seconds between words of progress
_NEXT = {"tensorboard": "look at it with: tensorboard --logdir", "wandb-offline": "send it with: wandb sync"}


def export(options: Options) -> int:
    """Write the folder and print where; how to go on from there is on stderr."""
    results = results_dir(options.words["results_dir"])
    run, format = find_run(options.words["run"], results), options.words["format"]
    folder = Path(options.words["out"] or results / "exports" / run.id / format).expanduser().resolve()
    with _Progress(f"reading run {run.id} ...") as progress:
        record = read_record(run)
        progress.steps = record.history.step
        files = interop.export(record, format, folder, progress)
    if record.is_live:
        _say(f"run {run.id} is live: this is how it stands at step {record.history.step}")
    if record.damaged:
        _say(f"left out of {run.events_path}: {record.damaged} damaged lines")
    if options.json:
        print(json.dumps({"export": str(folder), "format": format, "files": [str(path) for path in files],
                          "run": run.id, "state": record.state, "steps": record.history.step}))  # fmt: skip
    else:
        print(folder)
    if format in _NEXT:
        _say(f"{_NEXT[format]} {shlex.quote(str(folder))}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


class _Progress:
    """Once a second, on stderr, how far it is; a thread tells, as reading and finishing count no steps."""

    def __init__(self, beginning: str) -> None:
        self.steps = 0
        self._step = 0
        self._beginning = beginning
        self._over = threading.Event()
        self._teller = threading.Thread(target=self._tell, daemon=True)

    def __call__(self, step: int) -> None:
        self._step = step

    def __enter__(self) -> Self:
        self._teller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._teller.join()

    def _tell(self) -> None:
        on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        before, after = ("\r\x1b[K", "") if on_terminal else ("", "\n")
        while not self._over.wait(_INTERVAL):
            step = f"written: step {self._step:,} of {self.steps:,}"
            sys.stderr.write(f"{before}{step if self._step else self._beginning}{after}")
            sys.stderr.flush()
        sys.stderr.write(before)
