"""compare: compare runs side by side as a table, as JSON, and as an HTML page with overlaid curves."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.errors import SettingsError
from engines.files import user_path
from engines.output.terminal_text import visible_line
from engines.reports.comparison_report import describe_damages, list_metric_rows, render_comparison
from engines.reports.page import render_page
from engines.reports.report_files import write_report
from engines.runs.comparison import MISSING, ComparedSetting, compare_settings
from engines.runs.lookup import find_run
from engines.runs.metrics import compute_metrics
from engines.runs.record import RunRecord, read_record
from nanochat_tui.commands import Options
from nanochat_tui.headless.lookup import results_of
from nanochat_tui.headless.progress_message import progress_message
from nanochat_tui.streams import print_json


def compare(options: Options) -> int:
    """Print the results of the runs, and the settings in which they differ."""
    names = options.arguments["run"]
    if len(names) < 2:
        raise SettingsError([f"compare needs two or more runs; for one run use: nanochat-tui --no-ui show {names[0]}"])
    results = results_of(options)
    with progress_message(f"reading {' '.join(names)}"):
        records = [read_record(find_run(name, results)) for name in names]
    all_settings = compare_settings([record.config for record in records])
    for sentence in describe_damages(records):
        print(sentence, file=sys.stderr)
    if options.json:
        print_json(_as_json(records, all_settings))
    else:
        print(_as_text(records, all_settings))
    if options.arguments["html"] is not None:
        _write_html(user_path(options.arguments["html"], "report"), records)
    return 0


def _as_text(records: Sequence[RunRecord], all_settings: Sequence[ComparedSetting]) -> str:
    different = [setting.line for setting in all_settings if setting.line.differs]
    rows = [("", *(record.run.id for record in records)), *list_metric_rows(records)]
    blank = ("",) * len(rows[0])
    summary = f"differ in {len(different)} of {len(all_settings)} settings and origins"
    differences = [(f"≠ {line.name}", *line.values) for line in different]
    return "\n".join(_align([*rows, blank, *(differences or [(summary, *blank[1:])])]))


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, two spaces apart. A value may contain any character, and stays on its line."""
    clean = [[visible_line(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in clean]


def _as_json(records: Sequence[RunRecord], all_settings: Sequence[ComparedSetting]) -> dict[str, Any]:
    """Return one object for JSON. A setting that a manifest lacks is null, and so is NaN, which `nonfinite` names."""
    return {
        "runs": [_metrics_as_json(record) for record in records],
        "settings": len(all_settings),
        "differences": [
            {
                "group": setting.group,
                "name": setting.name,
                "values": [None if value is MISSING else value for value in setting.values],
            }
            for setting in all_settings
            if setting.line.differs
        ],
    }


def _metrics_as_json(record: RunRecord) -> dict[str, Any]:
    return {
        "run": record.run.id,
        "path": str(record.run.path),
        **compute_metrics(record),
        "unreadable": record.history.damage or None,
    }


def _write_html(path: Path, records: Sequence[RunRecord]) -> None:
    sections, figures = render_comparison(records)
    page = render_page(" and ".join(record.run.id for record in records), "", sections)
    for written in write_report(path, page, figures):
        print(written, file=sys.stderr)
