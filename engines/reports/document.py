"""A whole report: one page about all that is named, and where it is written unless somebody says otherwise."""

from collections.abc import Sequence
from pathlib import Path

from engines.ablation.study import Study
from engines.reports import comparison_report, run_report, study_report
from engines.reports.markup import Safe, tag
from engines.reports.page import page
from engines.reports.report_files import write_report
from engines.reports.run_report import Pictures
from engines.runs.record import Record

Subject = Study | Record


def write_document(subjects: Sequence[Subject], path: Path) -> list[Path]:
    """What was written, the page first."""
    return write_report(path, *_document(subjects))


def usual_path(results: Path, subject: Subject) -> Path:
    return results / "reports" / f"{_id(subject)}.html"


def damages(subjects: Sequence[Subject]) -> list[str]:
    """Return a sentence for each run and study among the subjects whose log could not be read completely."""
    return [sentence for one in subjects for sentence in _damages(one)]


def _damages(one: Subject) -> list[str]:
    return study_report.damages(one) if isinstance(one, Study) else comparison_report.damages([one])


def _document(subjects: Sequence[Subject]) -> tuple[str, Pictures]:
    """One part for each, and before them, of several runs, what they have and have not in common."""
    if len(subjects) == 1:
        lead, sections, pictures = _part(subjects[0])
        return page(_title(subjects[0]), lead, sections), pictures
    parts, contents, pictures = [], [], []
    records = [one for one in subjects if isinstance(one, Record)]
    if len(records) > 1:
        sections, pictures = comparison_report.comparison_sections(records)
        parts.append(tag("article", tag("h2", "Compared"), *sections, id="compared"))
        contents.append(("compared", "Compared"))
    ids = [_id(one) for one in subjects]
    for place, one in enumerate(subjects):
        lead, sections, plots = _part(one)
        parts.append(tag("article", tag("h2", _title(one)), lead, *sections, id=f"part-{place}"))
        contents.append((f"part-{place}", ids[place]))
        stem = ids[place] if ids.count(ids[place]) == 1 else f"{ids[place]}-{place + 1}"  # of two results directories
        pictures += [(f"{stem}.{name}", svg) for name, svg in plots]
    return page("Report", "", parts, contents), pictures


def _part(one: Subject) -> tuple[Safe, list[Safe], Pictures]:
    if isinstance(one, Study):
        return study_report.lead(one), *study_report.study_sections(one)
    return run_report.lead(one), *run_report.run_sections(one)


def _title(one: Subject) -> str:
    return f"{'Study' if isinstance(one, Study) else 'Run'} {_id(one)}"


def _id(one: Subject) -> str:
    return one.id if isinstance(one, Study) else one.run.id
