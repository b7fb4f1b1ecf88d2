"""report: write an HTML report about runs and studies."""

import sys
from pathlib import Path

from engines.ablation.study import find_study
from engines.errors import RunNotFoundError, UserError
from engines.files import user_path
from engines.reports.document import Subject, default_path, describe_damage, write_document
from engines.runs.lookup import find_run
from engines.runs.record import read_record
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.progress_message import progress_message
from nanochat_tui.streams import print_json


def report(options: Options) -> int:
    """Write one HTML file about everything that is named, with its plots in the same directory, and print the paths."""
    results, names = results_of(options), options.arguments["what"]
    with progress_message(f"reading {' '.join(names)}"):
        subjects = [_find(name, results) for name in dict.fromkeys(names)]
    out = options.arguments["out"]
    path = default_path(results, subjects[0]) if out is None else user_path(out, "report")
    with progress_message(f"writing {path}"):
        written = write_document(subjects, path)
    unreadable = describe_damage(subjects)
    for sentence in unreadable:
        print(sentence, file=sys.stderr)
    if options.json:
        plots = [str(plot) for plot in written[1:]]
        print_json({"report": str(path), "plots": plots, "unreadable": unreadable or None})
    else:
        print(*written, sep="\n")
    return 0


def _find(name: str, results: Path) -> Subject:
    """Return the study of that name or path, else the run. Raises UserError if there is neither."""
    try:
        if name != "last":  # the last run, as in every other command
            return find_study(name, results)
    except UserError:
        pass
    try:
        return read_record(find_run(name, results))
    except RunNotFoundError:
        raise UserError(
            f"run or study {name!r} not found in {results}. List them with: nanochat-tui --no-ui runs, or studies"
        ) from None
