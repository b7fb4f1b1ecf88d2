"""A measured report: figures with their limits, written as JSON for machines and Markdown for people."""

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
    """One measured quantity. `limit` is what was wanted, in the same unit; None where nothing was."""

    name: str
    unit: str
    values: list[float]
    limit: float | None = None
    more_is_better: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Report(NamedTuple):
    """`command` makes the report again."""

    title: str
    command: str
    figures: Sequence[Figure]

    def to_json(self) -> str:
        figures = [{**figure._asdict(), "median": figure.median} for figure in self.figures]
        return to_json({"title": self.title, "command": self.command, **_machine(), "figures": figures}, indent=1)

    def to_markdown(self) -> str:
        machine = ", ".join(f"{name} {value}" for name, value in _machine().items())
        lines = [
            f"# {self.title}",
            "",
            f"`{self.command}` on {machine}. Medians, with the least and the most measured.",
            "",
            "| what | median | least - most | wanted |",
            "| --- | --- | --- | --- |",
        ]
        for figure in self.figures:
            bound = "at least" if figure.more_is_better else "at most"
            wanted = "" if figure.limit is None else f"{bound} {figure.limit:g} {figure.unit}"
            spread = f"{min(figure.values):.3g} - {max(figure.values):.3g}"
            lines.append(f"| {figure.name} | {figure.median:.3g} {figure.unit} | {spread} | {wanted} |")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the report as JSON and Markdown, and return their paths in this order."""
        paths = [folder / f"{name}.json", folder / f"{name}.md"]
        for path, text in zip(paths, (self.to_json() + "\n", visible(self.to_markdown())), strict=True):
            write_file(path, text, "report")
        return paths


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "system": platform.system(), "cores": cpu.total_cores()}
