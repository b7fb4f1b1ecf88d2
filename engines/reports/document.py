"""A whole report: one page about all runs and studies that are named, and the default path of it."""

from collections.abc import Sequence
from pathlib import Path

from engines.ablation.study import Study
from engines.reports import comparison_report, run_report, study_report
from engines.reports.markup import Safe, tag
from engines.reports.page import render_page
from engines.reports.report_files import write_report
from engines.reports.run_report import Figures
from engines.runs.record import RunRecord

Subject = Study | RunRecord


def write_document(subjects: Sequence[Subject], path: Path) -> list[Path]:
    """Write a report and its plots; return the files, the page first. Raises UserError if one cannot be written."""
    return write_report(path, *_render_document(subjects))


def default_path(results: Path, subject: Subject) -> Path:
    """Return the path of a report that is not given another one."""
    return results / "reports" / f"{_subject_id(subject)}.html"


def describe_damage(subjects: Sequence[Subject]) -> list[str]:
    """Return a sentence for each run and study whose log could not be read completely."""
    return [sentence for subject in subjects for sentence in _describe_damage(subject)]


def _describe_damage(subject: Subject) -> list[str]:
    if isinstance(subject, Study):
        return study_report.describe_damage(subject)
    return comparison_report.describe_damages([subject])


def _render_document(subjects: Sequence[Subject]) -> tuple[str, Figures]:
    """Render a part for each subject, after a comparison if several of them are runs."""
    if len(subjects) == 1:
        lead, sections, figures = _render_part(subjects[0])
        return render_page(_title(subjects[0]), lead, sections), figures
    parts, contents, figures = [], [], []
    records = [subject for subject in subjects if isinstance(subject, RunRecord)]
    if len(records) > 1:
        sections, figures = comparison_report.render_comparison(records)
        parts.append(tag("article", tag("h2", "Comparison"), *sections, id="comparison"))
        contents.append(("comparison", "Comparison"))
    ids = [_subject_id(subject) for subject in subjects]
    for index, subject in enumerate(subjects):
        lead, sections, plots = _render_part(subject)
        parts.append(tag("article", tag("h2", _title(subject)), lead, *sections, id=f"part-{index}"))
        contents.append((f"part-{index}", ids[index]))
        is_unique = ids.count(ids[index]) == 1  # runs of two results directories may have the same id
        stem = ids[index] if is_unique else f"{ids[index]}-{index + 1}"
        figures += [(f"{stem}.{name}", svg) for name, svg in plots]
    return render_page("Report", "", parts, contents), figures


def _render_part(subject: Subject) -> tuple[Safe, list[Safe], Figures]:
    if isinstance(subject, Study):
        return study_report.render_lead(subject), *study_report.render_sections(subject)
    return run_report.render_lead(subject), *run_report.render_sections(subject)


def _title(subject: Subject) -> str:
    return f"{'Study' if isinstance(subject, Study) else 'Run'} {_subject_id(subject)}"


def _subject_id(subject: Subject) -> str:
    return subject.id if isinstance(subject, Study) else subject.run.id
