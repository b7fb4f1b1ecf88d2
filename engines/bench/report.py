"""Benchmark reports: figures with their limits, as JSON and as Markdown."""

import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engines.files import write_file
from engines.output.json_text import to_json
from engines.output.terminal_text import visible
from engines.system import cpu


class Figure(NamedTuple):
    """A measured quantity. `limit` is the goal in the same unit, if there is one."""

    name: str
    unit: str
    values: list[float]
    limit: float | None = None
    more_is_better: bool = False

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)


class Report(NamedTuple):
    """Figures with a title, and the command that measures them again. `notes` are paragraphs before the table."""

    title: str
    command: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()

    def to_json(self) -> str:
        """Return the report as JSON."""
        figures = [{**figure._asdict(), "median": figure.median} for figure in self.figures]
        facts = {"title": self.title, "command": self.command, **_machine(), "notes": list(self.notes)}
        return to_json({**facts, "figures": figures}, indent=1)

    def to_markdown(self) -> str:
        """Return the report as Markdown: a table with the median and the range of each figure."""
        machine = ", ".join(f"{name} {value}" for name, value in _machine().items())
        lines = [
            f"# {self.title}",
            "",
            f"`{self.command}` on {machine}. Medians, with minimum and maximum.",
            "",
            *(line for note in self.notes for line in (note, "")),
            "| figure | median | minimum - maximum | goal |",
            "| --- | --- | --- | --- |",
        ]
        for figure in self.figures:
            bound = "at least" if figure.more_is_better else "at most"
            goal = "" if figure.limit is None else f"{bound} {figure.limit:,g} {figure.unit}"
            spread = f"{_format(min(figure.values))} - {_format(max(figure.values))}"
            median = f"{_format(figure.median)} {figure.unit}".rstrip()
            lines.append(f"| {figure.name} | {median} | {spread} | {goal} |")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the report as JSON and Markdown, and return their paths in this order."""
        paths = [folder / f"{name}.json", folder / f"{name}.md"]
        for path, text in zip(paths, (self.to_json() + "\n", visible(self.to_markdown())), strict=True):
            write_file(path, text, "report")
        return paths


def _format(value: float) -> str:
    """Return a number with three significant digits, or all digits before the decimal point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "system": platform.system(), "cores": cpu.total_cores()}
