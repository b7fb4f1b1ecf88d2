"""report: a file for people about runs and studies."""

import json
from pathlib import Path

from engines.ablation.study import Study, find_study
from engines.errors import LabError
from engines.reports import comparison_report, run_report, study_report
from engines.reports.files import write_report
from engines.reports.markup import Safe, tag
from engines.reports.page import page
from engines.reports.record import Record, read_record
from engines.reports.run_report import Pictures
from engines.runs.store import find_run, results_dir
from nanochat_tui.commands import Options


def report(options: Options) -> int:
    """Write one HTML file about all that is named, with its plots beside it, and print where."""
    results = results_dir(options.words["results_dir"])
    found = [_find(word, results) for word in options.words["what"]]
    path = Path(options.words["out"] or results / "reports" / f"{_id(found[0])}.html").expanduser().absolute()
    if path.is_dir():
        raise LabError(f"{path} is a folder; name a file in it with --out.")
    text, pictures = _page(found)
    written = write_report(path, text, pictures)
    if options.json:
        print(json.dumps({"report": str(path), "plots": [str(plot) for plot in written[1:]]}))
    else:
        print(*written, sep="\n")
    return 0


def _find(word: str, results: Path) -> Study | Record:
    """A study by its id or path, else a run."""
    try:
        if word != "last":  # that is a run, as everywhere
            return find_study(word, results)
    except LabError:
        pass
    try:
        return read_record(find_run(word, results))
    except LabError as error:
        if not str(error).startswith("there is no run"):
            raise
        raise LabError(
            f"there is no run and no study {word!r} in {results}; `nanochat-tui --no-ui runs` and `studies` list them."
        ) from None


def _id(found: Study | Record) -> str:
    return found.id if isinstance(found, Study) else found.run.id


def _page(found: list[Study | Record]) -> tuple[str, Pictures]:
    """One part for each, and before them, of several runs, what they have and have not in common."""
    if len(found) == 1:
        lead, sections, pictures = _part(found[0])
        return page(_title(found[0]), lead, sections), pictures
    parts, contents, pictures = [], [], []
    records = [one for one in found if isinstance(one, Record)]
    if len(records) > 1:
        sections, pictures = comparison_report.comparison_sections(records)
        parts.append(tag("article", tag("h2", "Compared"), *sections, id="compared"))
        contents.append(("compared", "Compared"))
    for place, one in enumerate(found):
        lead, sections, plots = _part(one)
        parts.append(tag("article", tag("h2", _title(one)), lead, *sections, id=f"part-{place}"))
        contents.append((f"part-{place}", _id(one)))
        pictures += [(f"{_id(one)}.{name}", svg) for name, svg in plots]
    return page("Report", "", parts, contents), pictures


def _part(one: Study | Record) -> tuple[Safe, list[Safe], Pictures]:
    if isinstance(one, Study):
        return study_report.lead(one), *study_report.study_sections(one)
    return run_report.lead(one), *run_report.run_sections(one)


def _title(one: Study | Record) -> str:
    return f"{'Study' if isinstance(one, Study) else 'Run'} {_id(one)}"
