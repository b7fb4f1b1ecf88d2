"""export: write the steps and evaluations of a run as files for other tools."""

import shlex

from engines.files import user_path
from engines.interop import export as interop
from engines.runs.record import read_record
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import named_run, results_of
from nanochat_tui.headless.messages import print_message
from nanochat_tui.headless.progress_message import progress_message
from nanochat_tui.streams import print_json

_NEXT_STEP = {"tensorboard": "open it with: tensorboard --logdir", "wandb-offline": "upload it with: wandb sync"}


def export(options: Options) -> int:
    """Write the files and print their directory; the command that opens them is printed on stderr."""
    run, format, out = named_run(options), options.arguments["format"], options.arguments["out"]
    default = results_of(options) / "exports" / run.id / format
    folder = default if out is None else user_path(out, "export").resolve()
    progress = _Progress()
    with progress_message(f"exporting run {run.id}", progress.__str__):
        record = read_record(run)
        progress.steps = record.history.step
        files = interop.export(record, format, folder, progress)
    if record.is_live:
        print_message(f"run {run.id} is running; the export ends at step {record.history.step}")
    if record.history.damage:
        print_message(f"not exported from run {run.id}: {record.history.damage}")
    if options.json:
        print_json({"export": str(folder), "format": format, "files": [str(path) for path in files],
                    "run": run.id, "state": record.state, "steps": record.history.step,
                    "unreadable": record.history.damage or None})  # fmt: skip
    else:
        print(folder)
    if format in _NEXT_STEP:
        print_message(f"{_NEXT_STEP[format]} {shlex.quote(str(folder))}")
    return 0


class _Progress:
    """The step up to which the files are written. It is called with that step, and formatted in another thread."""

    def __init__(self) -> None:
        self.steps = 0
        self._step = 0

    def __call__(self, step: int) -> None:
        self._step = step

    def __str__(self) -> str:
        return f"step {self._step:,} of {self.steps:,}" if self._step else ""
