"""compare: runs side by side, as a table, as JSON, and as curves over each other."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.errors import SettingsError
from engines.files import user_path
from engines.output.terminal_text import visible_line
from engines.reports.comparison_report import comparison_sections, damages, metric_rows
from engines.reports.page import page
from engines.reports.report_files import write_report
from engines.runs.comparison import MISSING, Setting, settings
from engines.runs.lookup import find_run, results_dir
from engines.runs.metrics import metrics
from engines.runs.record import Record, read_record
from nanochat_tui.commands import Options
from nanochat_tui.headless.progress_message import meanwhile
from nanochat_tui.streams import print_json


def compare(options: Options) -> int:
    """What the runs reached, and the settings in which they differ."""
    words = options.words["run"]
    if len(words) < 2:
        raise SettingsError([f"compare takes two runs or more; about one: nanochat-tui --no-ui show {words[0]}"])
    results = results_dir(options.words["results_dir"])
    with meanwhile(f"reading {' '.join(words)}"):
        records = [read_record(find_run(word, results)) for word in words]
    every = settings([record.config for record in records])
    for sentence in damages(records):
        print(sentence, file=sys.stderr)
    if options.json:
        print_json(_as_json(records, every))
    else:
        print(_as_text(records, every))
    if options.words["html"] is not None:
        _write_html(user_path(options.words["html"], "report"), records)
    return 0


def _as_text(records: Sequence[Record], every: Sequence[Setting]) -> str:
    different = [setting.line for setting in every if setting.line.differs]
    rows = [("", *(record.run.id for record in records)), *metric_rows(records)]
    blank = ("",) * len(rows[0])
    told = f"differ in {len(different)} of {len(every)} settings and origins"
    rows += (
        [blank, (told, *blank[1:])]
        if not different
        else [blank, *((f"≠ {line.name}", *line.values) for line in different)]
    )
    return "\n".join(_aligned(rows))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, two spaces apart. A value may contain any character, and stays on its line."""
    clean = [[visible_line(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)]
    return ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in clean]


def _as_json(records: Sequence[Record], every: Sequence[Setting]) -> dict[str, Any]:
    """Values as they are; what a manifest has not is null, and so is NaN, which `nonfinite` names."""
    return {
        "runs": [_figures(record) for record in records],
        "settings": len(every),
        "differences": [
            {
                "group": setting.group,
                "name": setting.name,
                "values": [None if value is MISSING else value for value in setting.values],
            }
            for setting in every
            if setting.line.differs
        ],
    }


def _figures(record: Record) -> dict[str, Any]:
    return {
        "run": record.run.id,
        "path": str(record.run.path),
        **metrics(record),
        "unreadable": record.history.damage or None,
    }


def _write_html(path: Path, records: Sequence[Record]) -> None:
    sections, pictures = comparison_sections(records)
    for written in write_report(path, page(" and ".join(record.run.id for record in records), "", sections), pictures):
        print(written, file=sys.stderr)
