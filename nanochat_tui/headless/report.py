"""report: a file for people about runs and studies."""

import sys
from pathlib import Path

from engines.ablation.study import find_study
from engines.errors import UserError
from engines.files import user_path
from engines.reports.document import Subject, damages, usual_path, write_document
from engines.runs.lookup import find_run, results_dir
from engines.runs.record import read_record
from nanochat_tui.commands import Options
from nanochat_tui.headless.progress_message import meanwhile
from nanochat_tui.streams import print_json


def report(options: Options) -> int:
    """Write one HTML file about all that is named, with its plots beside it, and print where."""
    results, words = results_dir(options.words["results_dir"]), options.words["what"]
    with meanwhile(f"reading {' '.join(words)}"):
        subjects = [_find(word, results) for word in dict.fromkeys(words)]
    out = options.words["out"]
    path = usual_path(results, subjects[0]) if out is None else user_path(out, "report")
    with meanwhile(f"writing {path}"):
        written = write_document(subjects, path)
    unreadable = damages(subjects)
    for sentence in unreadable:
        print(sentence, file=sys.stderr)
    if options.json:
        plots = [str(plot) for plot in written[1:]]
        print_json({"report": str(path), "plots": plots, "unreadable": unreadable or None})
    else:
        print(*written, sep="\n")
    return 0


def _find(word: str, results: Path) -> Subject:
    """A study by its id or path, else a run."""
    try:
        if word != "last":  # that is a run, as everywhere
            return find_study(word, results)
    except UserError:
        pass
    try:
        return read_record(find_run(word, results))
    except UserError as error:
        if not str(error).startswith("there is no run"):
            raise
        raise UserError(
            f"there is no run and no study {word!r} in {results}; `nanochat-tui --no-ui runs` and `studies` list them."
        ) from None
