"""export: a run's steps and evaluations as files for other tools."""

import shlex
import sys

from engines.files import user_path
from engines.interop import export as interop
from engines.runs.lookup import find_run, results_dir
from engines.runs.record import read_record
from nanochat_tui.commands import Options
from nanochat_tui.headless.progress_message import meanwhile
from nanochat_tui.streams import print_json

_NEXT = {"tensorboard": "look at it with: tensorboard --logdir", "wandb-offline": "send it with: wandb sync"}


def export(options: Options) -> int:
    """Write the folder and print where; how to go on from there is on stderr."""
    results = results_dir(options.words["results_dir"])
    run, format = find_run(options.words["run"], results), options.words["format"]
    out = options.words["out"]
    folder = results / "exports" / run.id / format if out is None else user_path(out, "export").resolve()
    progress = _Progress()
    with meanwhile(f"exporting run {run.id}", progress.__str__):
        record = read_record(run)
        progress.steps = record.history.step
        files = interop.export(record, format, folder, progress)
    if record.is_live:
        _say(f"run {run.id} is live: this is how it stands at step {record.history.step}")
    if record.history.damage:
        _say(f"not exported from run {run.id}: {record.history.damage}")
    if options.json:
        print_json({"export": str(folder), "format": format, "files": [str(path) for path in files],
                    "run": run.id, "state": record.state, "steps": record.history.step,
                    "unreadable": record.history.damage or None})  # fmt: skip
    else:
        print(folder)
    if format in _NEXT:
        _say(f"{_NEXT[format]} {shlex.quote(str(folder))}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


class _Progress:
    """How far the writing is."""

    def __init__(self) -> None:
        self.steps = 0
        self._step = 0

    def __call__(self, step: int) -> None:
        self._step = step

    def __str__(self) -> str:
        return f"step {self._step:,} of {self.steps:,}" if self._step else ""
