"""The comparison of runs: their results, and the settings in which they differ."""

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Static

from engines.output.units import format_age
from engines.runs.comparison import ComparisonLine, compare_settings, format_setting
from engines.runs.watch import WatchedRun
from screens.shared.formatting import format_count, format_decimal, format_label, format_state, format_text
from screens.widgets.dialog import Dialog


def compare_results(watches: Sequence[WatchedRun], ascii: bool) -> list[ComparisonLine]:
    """Return the results of each run."""
    rows = [_results_of(watch, ascii) for watch in watches]
    return [ComparisonLine("results", name, tuple(row[name] for row in rows)) for name in rows[0]]


def _results_of(watch: WatchedRun, ascii: bool) -> dict[str, str]:
    overview = watch.overview
    facts = watch.part("facts")
    return {
        "state": f"{format_state(watch, ascii)[0]} {watch.state}",
        "step": f"{overview.step:,}/{format_setting(watch.part('resolved').get('steps', '?'))}",
        "best bpb": "–"
        if overview.best_step is None
        else f"{format_decimal(overview.best_bpb)} @ {overview.best_step:,}",
        "last loss": format_decimal(overview.loss),
        "tokens": format_count(float(overview.tokens)),
        "tok/s": format_count(overview.tokens_per_second or None),
        "training": "–" if math.isnan(overview.seconds) else f"{overview.seconds:,.1f} s",
        "parameters": f"{facts['parameters']:,}" if "parameters" in facts else "–",
        "guards": str(overview.guard_count),
        "age": format_age(watch.config.get("created_at")),
    }


class CompareScreen(Dialog[None]):
    """A table with one column per run: results, and the settings that differ or all of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "all", "All", id="compare.all", tooltip="Show all settings, or only those that differ"),
        Binding("escape,d", "dismiss", "Close", id="compare.close", tooltip="Close the comparison"),
    ]

    def __init__(self, watches: Sequence[WatchedRun], ascii: bool) -> None:
        super().__init__()
        self._watches = list(watches)
        self._ascii = ascii
        self._settings = [setting.line for setting in compare_settings([watch.config for watch in watches])]
        self._shows_all = False
        self._shown: list[ComparisonLine] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="pane") as box:
            box.border_subtitle = "a: all settings or those that differ, esc: close"
            yield DataTable(id="lines", cursor_type="row")
            yield Static(id="note", markup=False)

    def on_mount(self) -> None:
        self._show()

    def on_runs_refreshed(self) -> None:
        """Update the results of active runs; settings do not change."""
        self._show()

    def action_all(self) -> None:
        self._shows_all = not self._shows_all
        self._show()

    def _show(self) -> None:
        lines = compare_results(self._watches, self._ascii)
        different = [line for line in self._settings if line.differs]
        lines += self._settings if self._shows_all else different
        count = f"{len(different)} of {len(self._settings)} settings differ"
        self.query_one("#box").border_title = f"All settings: {count}" if self._shows_all else count
        self.query_one("#note", Static).update("" if different else "All settings are equal. Press a to show them.")
        if [line[:2] for line in lines] != [line[:2] for line in self._shown]:
            self._rebuild(lines)
        else:
            self._update_cells(lines)
        self._shown = lines

    def _rebuild(self, lines: Sequence[ComparisonLine]) -> None:
        table = self.query_one("#lines", DataTable)
        table.clear(columns=True)
        table.add_column("", key="name")
        for number, watch in enumerate(self._watches):
            table.add_column(Text(watch.run.id), key=str(number))
        group = ""
        for line in lines:
            if line.group != group:
                group = line.group
                table.add_row(Text(format_label(group), "bold"), key=group)
            table.add_row(
                self._render_label(line), *map(self._render_value, line.values), key=f"{line.group} {line.name}"
            )

    def _update_cells(self, lines: Sequence[ComparisonLine]) -> None:
        table = self.query_one("#lines", DataTable)
        for line, was in zip(lines, self._shown, strict=True):
            for number, (value, old) in enumerate(zip(line.values, was.values, strict=True)):
                if value != old:
                    table.update_cell(
                        f"{line.group} {line.name}", str(number), self._render_value(value), update_width=True
                    )

    def _render_label(self, line: ComparisonLine) -> Text:
        sign = " " if line.group == "results" or not line.differs else "!" if self._ascii else "≠"
        return Text(f"{sign} {line.name}")

    def _render_value(self, value: str) -> Text:
        return Text(format_text(value, self._ascii), no_wrap=True)
